import {
  type Announcement,
  CulvertError,
  type HandshakeTimes,
  type Identity,
  LIMITS,
  type NoSession,
  newStreamId,
  type SessionAnswer,
} from '@culvert/protocol';
import type { Grant } from '@culvert/protocol/grant';
import { type Clock, deadline, linkSignals } from '@culvert/stream';
import type { Principal } from '../auth/principal.ts';
import type { Router } from '../control/router.ts';
import type { EventSink } from '../observe/events.ts';
import { sessionKey } from '../observe/session-key.ts';
import type { Registry } from '../registry/registry.ts';
import type { GrantIssuer } from './grant-issuer.ts';
import { agreedSession, type RequestedSession, whyNoSession } from './requested-session.ts';
import type { SessionAdmission } from './session-admission.ts';
import type { EndAtGateway, StreamTable } from './stream-table.ts';

/** A service's request for a stream, authenticated, authorised and parsed. */
export interface StreamRequest {
  readonly identity: Identity;
  readonly streamName: string;
  readonly principal: Principal;
  readonly remoteAddress: string;
  /** The `traceparent` header of the request, if it has a valid one. */
  readonly traceParent?: string | undefined;
  /** The session that the service asked for; undefined for a raw stream. */
  readonly session?: RequestedSession | undefined;
  readonly times: HandshakeTimes;
  /** Aborted when the caller disconnects. */
  readonly signal: AbortSignal;
}

/**
 * Maximum streams of one session at once: the newest, and one whose connections may still have to be found dead. A further request ends the oldest, so
 * that a session cannot have many streams in the place of one.
 */
const MAX_SESSION_STREAMS = 2;

/** The response to the service. */
export type StreamReply =
  | {
      readonly accepted: true;
      readonly streamId: string;
      readonly grant: Grant;
      /** The session that both ends agreed on; undefined for a raw stream. */
      readonly session?: SessionAnswer | undefined;
      /** Why the stream is raw, if the service asked for a session. */
      readonly noSession?: NoSession | undefined;
      /** With a session: the limit on idle streams in milliseconds, if there is one. */
      readonly idleMs?: number | undefined;
    }
  | { readonly accepted: false; readonly streamId: string; readonly reason: string };

export interface HandshakeDeps {
  readonly registry: Pick<Registry, 'get'>;
  readonly router: Router;
  /**
   * Checks the device's limits.
   * @param takesPlace whether the stream takes the place of another one of its session
   * @throws CulvertError `too_many_requests`, `quota_reached`
   */
  readonly admitTo: (identity: Identity, takesPlace: boolean) => void;
  /** Whether the hub carries as many streams as it may. */
  readonly isFull: () => boolean;
  readonly sessions: SessionAdmission;
  readonly grants: Pick<GrantIssuer, 'issue'>;
  readonly streams: StreamTable;
  /** Frees the rendezvous at the gateway and revokes the stream's grants. */
  readonly endAtGateway: EndAtGateway;
  /** Aborted when the hub stops; requests then fail with its reason. */
  readonly draining: AbortSignal;
  readonly clock: Clock;
  readonly onEvent: EventSink;
}

/**
 * Runs the handshake from the service's request to the response. Both grants expire 60 s after the request, which also limits the rest of the
 * handshake: the gateway then rejects a connection that is still waiting. The device's grant is valid before the offer is sent, because Azure's
 * C devices connect to the gateway before they answer.
 * @throws CulvertError `device_not_found`, `module_not_found`, `device_disabled`, `device_offline`, `device_gone`, `device_silent`,
 * `too_many_requests`, `quota_reached`, `lifetime_ended`, `withdrawn`, `revoked`, `closed_by_administrator`, `draining`
 */
export async function requestStream(request: StreamRequest, deps: HandshakeDeps): Promise<StreamReply> {
  const { identity, streamName, principal, session } = request;
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
    sessionId: session?.id,
  });
  const answerDeadline = deadline(clock, request.times.answerMs, () => new CulvertError('device_silent'));
  const endedExternally = new AbortController();
  let isOver = false;
  const ended = linkSignals([deps.draining, answerDeadline.signal, request.signal, endedExternally.signal]);
  let added = false;
  let offered = false;
  try {
    ended.signal.throwIfAborted();
    const key = session === undefined ? undefined : sessionKey(session.id, principal.name, identity);
    if (session !== undefined && key !== undefined) deps.sessions.admit(session, key);
    deps.admitTo(identity, key !== undefined && deps.streams.hasSession(key));
    // The stream is added before the first await, so that a revocation from now on finds it.
    const endHandshake = (error: CulvertError) => {
      if (!isOver) endedExternally.abort(error);
      return !isOver;
    };
    const entry = { streamId, identity, streamName, service: principal, device: undefined, requestedAt, endHandshake };
    deps.streams.add({ ...entry, sessionId: session?.id }, expiresAt);
    added = true;
    // A full gateway would refuse the new stream's connections: the one whose place it takes leaves at once.
    if (key !== undefined) deps.streams.endReplaced(key, deps.isFull() ? 1 : MAX_SESSION_STREAMS, deps.endAtGateway);
    await assertUsable(identity, deps.registry);
    const deviceGrant = await deps.grants.issue(streamId, 'device', expiresAt);
    ended.signal.throwIfAborted();
    let announced: Announcement | undefined;
    const { answer, channel } = await deps.router.offer(
      identity,
      (to) => {
        // The device may announce something else before it answers.
        announced = to.announcement;
        const extensions = deps.sessions.offerExtensions(session, to);
        return { streamId, streamName, grant: deviceGrant, caller: principal.name, ...extensions };
      },
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
    const agreed = answer.accepted ? agreedSession(session, announced, answer.session) : undefined;
    onEvent({
      type: 'stream-answered',
      ...identity,
      streamId,
      ...answer,
      session: agreed,
      protocol,
      remoteAddress,
      clientVersion,
      principal: device.name,
    });
    if (!answer.accepted) {
      release(deps, streamId, new CulvertError('rejected'));
      return { accepted: false, streamId, reason: answer.reason };
    }
    // The stream is no longer in the table when the grants have expired.
    if (!deps.streams.answered(streamId, device)) throw new CulvertError('device_gone');
    const grant = await deps.grants.issue(streamId, 'service', expiresAt);
    ended.signal.throwIfAborted();
    if (agreed === undefined) {
      const noSession = session === undefined ? undefined : whyNoSession(session, announced);
      return { accepted: true, streamId, grant, noSession };
    }
    return { accepted: true, streamId, grant, session: agreed, idleMs: deps.sessions.idleMs };
  } catch (reason) {
    let error = CulvertError.from(reason);
    // A timeout before the offer was sent means that the device was offline.
    if (error.code === 'device_silent' && !offered) error = new CulvertError('device_offline');
    // A request that was refused before the stream was added has nothing to release, and a flood of such requests must leave no state behind.
    if (added) release(deps, streamId, error);
    onEvent({ type: 'stream-failed', ...identity, streamId, error: error.code, detail: error.message });
    throw error;
  } finally {
    isOver = true;
    ended.unlink();
    answerDeadline.cancel();
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

/** Removes the stream and ends it at the gateway at once, not at the deadline: the device's connection may already be waiting there. */
function release(deps: HandshakeDeps, streamId: string, error: CulvertError): void {
  deps.streams.remove(streamId);
  deps.endAtGateway(streamId, error);
}
