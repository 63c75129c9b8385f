import { CulvertError, type HandshakeTimes, type Identity, LIMITS, newStreamId } from '@culvert/protocol';
import type { Grant } from '@culvert/protocol/grant';
import { type Clock, deadline, linkSignals } from '@culvert/stream';
import type { Principal } from '../auth/principal.ts';
import type { Router } from '../control/router.ts';
import type { EventSink } from '../observe/events.ts';
import type { Registry } from '../registry/registry.ts';
import type { GrantIssuer } from './grant-issuer.ts';
import type { EndAtGateway, StreamTable } from './stream-table.ts';

/** A service's request for a stream, authenticated, authorised and parsed. */
export interface StreamRequest {
  readonly identity: Identity;
  readonly streamName: string;
  readonly principal: Principal;
  readonly remoteAddress: string;
  /** See `HubEvent`. */
  readonly traceParent?: string | undefined;
  readonly times: HandshakeTimes;
  /** Aborted when the caller goes away. */
  readonly signal: AbortSignal;
}

/** The response to the service. */
export type StreamReply =
  | { readonly accepted: true; readonly streamId: string; readonly grant: Grant }
  | { readonly accepted: false; readonly streamId: string; readonly reason: string };

export interface HandshakeDeps {
  readonly registry: Pick<Registry, 'get'>;
  readonly router: Router;
  /** Checks the limits of the device. @throws CulvertError `too_many_requests`, `quota_reached` */
  readonly admitTo: (identity: Identity) => void;
  readonly grants: Pick<GrantIssuer, 'issue'>;
  readonly streams: StreamTable;
  /** Frees the rendezvous at the gateway and revokes the stream's grants. */
  readonly endAtGateway: EndAtGateway;
  /** Aborted when the hub stops; callers get its reason. */
  readonly draining: AbortSignal;
  readonly clock: Clock;
  readonly onEvent: EventSink;
}

/**
 * The handshake from the service's request to its answer. Both grants die 60 s after the request, which bounds the rest:
 * the gateway then tells a connection that still waits. The device's grant is valid before the device is asked, since Azure's C devices dial
 * before they answer.
 * @throws CulvertError `device_not_found`, `module_not_found`, `device_disabled`, `device_offline`, `device_gone`, `device_silent`, `too_many_requests`, `quota_reached`,
 * `withdrawn`, `revoked`, `closed_by_administrator`, `draining`
 */
export async function requestStream(request: StreamRequest, deps: HandshakeDeps): Promise<StreamReply> {
  const { identity, streamName, principal } = request;
  const { clock, onEvent } = deps;
  const streamId = newStreamId();
  const requestedAt = clock.now();
  const expiresAt = requestedAt + LIMITS.handshakeMs;
  onEvent({
    type: 'stream-requested',
    ...identity,
    streamId,
    streamName,
    caller: principal.name,
    remoteAddress: request.remoteAddress,
    traceParent: request.traceParent,
  });
  const silence = deadline(clock, request.times.answerMs, () => new CulvertError('device_silent'));
  const endedOutside = new AbortController();
  let over = false;
  const ended = linkSignals([deps.draining, silence.signal, request.signal, endedOutside.signal]);
  let added = false;
  let offered = false;
  try {
    ended.signal.throwIfAborted();
    deps.admitTo(identity);
    // Before the first await, so that a revocation from now on finds the stream.
    const endHandshake = (error: CulvertError) => {
      if (!over) endedOutside.abort(error);
      return !over;
    };
    const entry = { streamId, identity, streamName, service: principal, device: undefined, requestedAt, endHandshake };
    deps.streams.add(entry, expiresAt);
    added = true;
    await assertUsable(identity, deps.registry);
    const deviceGrant = await deps.grants.issue(streamId, 'device', expiresAt);
    ended.signal.throwIfAborted();
    const { answer, channel } = await deps.router.offer(
      identity,
      { streamId, streamName, grant: deviceGrant, caller: principal.name },
      {
        connectMs: request.times.connectMs,
        signal: ended.signal,
        onOffered: () => {
          offered = true;
          onEvent({ type: 'stream-offered', ...identity, streamId });
        },
      },
    );
    const { protocol, remoteAddress, clientVersion, principal: device } = channel;
    onEvent({
      type: 'stream-answered',
      ...identity,
      streamId,
      ...answer,
      protocol,
      remoteAddress,
      clientVersion,
      principal: device.name,
    });
    if (!answer.accepted) {
      release(deps, streamId, new CulvertError('rejected'));
      return { accepted: false, streamId, reason: answer.reason };
    }
    // The device answered after the grants had expired.
    if (!deps.streams.answered(streamId, device)) throw new CulvertError('device_gone');
    const grant = await deps.grants.issue(streamId, 'service', expiresAt);
    ended.signal.throwIfAborted();
    return { accepted: true, streamId, grant };
  } catch (reason) {
    let error = CulvertError.from(reason);
    // A timeout before the offer was sent means that the device was offline.
    if (error.code === 'device_silent' && !offered) error = new CulvertError('device_offline');
    // A request refused at once has nothing to free, and a flood of them must leave no state behind.
    if (added) release(deps, streamId, error);
    onEvent({ type: 'stream-failed', ...identity, streamId, error: error.code, detail: error.message });
    throw error;
  } finally {
    over = true;
    ended.unlink();
    silence.cancel();
  }
}

async function assertUsable(identity: Identity, registry: Pick<Registry, 'get'>): Promise<void> {
  const device = await registry.get({ deviceId: identity.deviceId });
  if (device === undefined) throw new CulvertError('device_not_found');
  if (device.status === 'disabled') throw new CulvertError('device_disabled');
  if (identity.moduleId !== undefined && (await registry.get(identity)) === undefined) {
    throw new CulvertError('module_not_found');
  }
}

/** A rejection frees the rendezvous at once, not at the deadline: the device may already be waiting there. */
function release(deps: HandshakeDeps, streamId: string, error: CulvertError): void {
  deps.streams.remove(streamId);
  deps.endAtGateway(streamId, error);
}
