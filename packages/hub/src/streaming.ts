import { Gateway, type GatewayControl, type GatewayEvent } from '@culvert/gateway';
import type { CulvertError } from '@culvert/protocol';
import { newGrantKeys } from '@culvert/protocol/grant';
import type { Clock } from '@culvert/stream';
import type { UpgradeHandler } from './api/front-door.ts';
import type { HubConfig } from './config.ts';
import { type GatewayThreadsTerms, type OpenThreads, openGatewayThreads } from './gateway-threads.ts';
import { GrantIssuer } from './handshake/grant-issuer.ts';
import { type HandshakeDeps, requestStream, type StreamReply, type StreamRequest } from './handshake/request-stream.ts';
import { revokeOnChange } from './handshake/revoke.ts';
import { StreamTable } from './handshake/stream-table.ts';
import type { HostNames } from './host-names.ts';
import type { EventBus } from './observe/event-bus.ts';
import type { LiveStreams } from './observe/live-streams.ts';
import type { Registry, RegistryListener, UsageStore } from './registry/registry.ts';
import { Router } from './routing/router.ts';
import { createStreamLimits, type StreamLimits } from './stream-limits.ts';

export interface StreamingOptions {
  readonly registry: Registry;
  readonly usage: UsageStore;
  /** Subscribed before what is made here. */
  readonly live: LiveStreams;
  readonly names: HostNames;
  readonly limits: HubConfig['limits'];
  /** Where streams go to threads of their own; absent: through the main port, in this thread. */
  readonly threads: GatewayThreadsTerms | undefined;
  /** Aborted when the hub stops. */
  readonly draining: AbortSignal;
  readonly clock: Clock;
  readonly events: EventBus;
}

/** Router, gateway and handshake, tied together: what makes streams and ends them. */
export interface Streaming {
  readonly router: Router;
  readonly gateway: GatewayControl;
  /** The gateway's threads, if it has some. */
  readonly threads: OpenThreads | undefined;
  /** Takes the upgrades that come to the main port. */
  readonly onUpgrade: UpgradeHandler;
  readonly requestStream: (request: StreamRequest) => Promise<StreamReply>;
  /** Ends what a change in the registry takes away. */
  readonly revocation: RegistryListener;
  readonly limits: StreamLimits;
  /** Ends a stream wherever it stands. False when there is none of this id. */
  endStream(streamId: string, error: CulvertError): boolean;
  /** Drops every timer and writes what is not written yet; the streams themselves are the gateway's. */
  clear(): Promise<void>;
}

/** The gateway's key pair is as old as the gateway: it holds the public half, the handshake the private one. */
export async function createStreaming(options: StreamingOptions): Promise<Streaming> {
  const { clock, limits, names, registry, draining, events, live, usage } = options;
  const onEvent = events.emit;
  const router = new Router(clock);
  const streams = new StreamTable({
    clock,
    onUnmet: ({ streamId, identity }, { code, message }) =>
      onEvent({ type: 'stream-failed', ...identity, streamId, error: code, detail: message }),
  });
  const keys = await newGrantKeys();
  const observed = (event: GatewayEvent) => {
    streams.observe(event);
    onEvent(event);
  };
  const common = {
    grantKey: keys.publicKey,
    clock,
    onEvent: observed,
    limits: {
      halfCloseMs: limits.halfCloseMs,
      stallMs: limits.stallMs,
      maxStreams: limits.streams,
      maxGuests: limits.streams,
    },
  };
  const threads = options.threads && (await openGatewayThreads(options.threads, common));
  // Behind the main port; with threads, nobody is granted anything there.
  const here = new Gateway(common);
  const gateway = threads?.gateway ?? here;
  const endAtGateway = (streamId: string, error: CulvertError) => gateway.end(streamId, error);
  const endStream = (streamId: string, error: CulvertError) => streams.end(streamId, error, endAtGateway);
  const streamLimits = await createStreamLimits({ limits, usage, streams, gateway, endStream, live, clock, events });
  const handshake: HandshakeDeps = {
    registry,
    router,
    admitTo: (identity) => streamLimits.admission.admitTo(identity),
    streams,
    endAtGateway,
    draining,
    clock,
    onEvent,
    grants: new GrantIssuer({
      key: keys.privateKey,
      bootId: gateway.bootId,
      authority: () => threads?.name ?? names.main,
    }),
  };
  return {
    router,
    gateway,
    threads,
    onUpgrade: (request, socket, head) => here.handleUpgrade(request, socket, head),
    requestStream: (request) => requestStream(request, handshake),
    revocation: revokeOnChange({ router, streams, endAtGateway }),
    limits: streamLimits,
    endStream,
    clear() {
      streams.clear();
      return streamLimits.close();
    },
  };
}
