import { Gateway, type GatewayEvent } from '@culvert/gateway';
import { CulvertError } from '@culvert/protocol';
import { newGrantKeys } from '@culvert/protocol/grant';
import type { Clock } from '@culvert/stream';
import type { HubConfig } from './config.ts';
import { GrantIssuer } from './handshake/grant-issuer.ts';
import { type HandshakeDeps, requestStream, type StreamReply, type StreamRequest } from './handshake/request-stream.ts';
import { revokeOnChange } from './handshake/revoke.ts';
import { StreamTable } from './handshake/stream-table.ts';
import type { HostNames } from './host-names.ts';
import type { EventSink } from './observe/events.ts';
import type { Registry, RegistryListener } from './registry/registry.ts';
import { Router } from './routing/router.ts';

export interface StreamingOptions {
  readonly registry: Registry;
  readonly names: HostNames;
  readonly limits: HubConfig['limits'];
  /** Aborted when the hub stops. */
  readonly draining: AbortSignal;
  readonly clock: Clock;
  readonly onEvent: EventSink;
}

/** Router, gateway and handshake, tied together: what makes streams and ends them. */
export interface Streaming {
  readonly router: Router;
  readonly gateway: Gateway;
  readonly requestStream: (request: StreamRequest) => Promise<StreamReply>;
  /** Ends what a change in the registry takes away. */
  readonly revocation: RegistryListener;
  /** Drops every timer; the streams themselves are the gateway's. */
  clear(): void;
}

/** The gateway's key pair is as old as the gateway: it holds the public half, the handshake the private one. */
export async function createStreaming(options: StreamingOptions): Promise<Streaming> {
  const { clock, onEvent, limits, names, registry, draining } = options;
  const router = new Router(clock);
  const streams = new StreamTable({
    clock,
    onExpired: ({ streamId, identity }) => {
      const { code, message } = new CulvertError('handshake_timeout');
      onEvent({ type: 'stream-failed', ...identity, streamId, error: code, detail: message });
    },
  });
  const keys = await newGrantKeys();
  const gateway = new Gateway({
    grantKey: keys.publicKey,
    clock,
    onEvent: (event: GatewayEvent) => {
      streams.observe(event);
      onEvent(event);
    },
    limits: { stallMs: limits.stallMs, maxStreams: limits.streams, maxGuests: limits.streams },
  });
  const endAtGateway = (streamId: string, error: CulvertError) => void gateway.end(streamId, error);
  const handshake: HandshakeDeps = {
    registry,
    router,
    streams,
    endAtGateway,
    draining,
    clock,
    onEvent,
    grants: new GrantIssuer({ key: keys.privateKey, bootId: gateway.bootId, authority: () => names.main }),
  };
  return {
    router,
    gateway,
    requestStream: (request) => requestStream(request, handshake),
    revocation: revokeOnChange({ router, streams, endAtGateway }),
    clear: () => streams.clear(),
  };
}
