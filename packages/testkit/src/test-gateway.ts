import type { KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Gateway, type GatewayEvent, type GatewayLimits } from '@culvert/gateway';
import { LIMITS, type Side } from '@culvert/protocol';
import { type Grant, type GrantClaims, grantPath, newGrantKeys, signGrant } from '@culvert/protocol/grant';
import { type Clock, systemClock } from '@culvert/stream';
import { testCertificate } from './test-certificate.ts';

export interface TestGatewayOptions {
  readonly clock?: Clock;
  readonly limits?: Partial<GatewayLimits>;
  /** As {@link Gateway}'s option. */
  readonly plain?: boolean;
}

/** A gateway behind a real TLS server on 127.0.0.1, and the key that signs its grants. */
export interface TestGateway {
  readonly gateway: Gateway;
  readonly events: readonly GatewayEvent[];
  readonly port: number;
  readonly ca: string;
  readonly signingKey: KeyObject;
  /** A grant for one side, as the hub makes them unless `claims` says otherwise. */
  grant(streamId: string, side: Side, claims?: Partial<GrantClaims>): Promise<Grant>;
  /** The first event of a type about a stream: one told already, or the next one. */
  event<T extends GatewayEvent['type']>(type: T, streamId?: string): Promise<Extract<GatewayEvent, { type: T }>>;
  /** Puts a new gateway in the place of this one, as a restart does: the same key, another boot id. */
  restart(): Gateway;
  stop(): Promise<void>;
}

/** Starts a gateway on port 0. */
export async function startGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const { clock = systemClock, limits = {}, plain = false } = options;
  const keys = await newGrantKeys();
  const certificate = await testCertificate();
  const server = createServer({ cert: certificate.cert, key: certificate.key });
  const events: GatewayEvent[] = [];
  const watchers = new Set<() => void>();
  const onEvent = (event: GatewayEvent): void => {
    events.push(event);
    for (const watcher of [...watchers]) watcher();
  };
  const make = (): Gateway => new Gateway({ grantKey: keys.publicKey, clock, onEvent, limits, plain });
  let gateway = make();
  server.on('upgrade', (request, socket, head) => void gateway.handleUpgrade(request, socket, head));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  function find<T extends GatewayEvent['type']>(type: T, streamId?: string) {
    const isWanted = (event: GatewayEvent): event is Extract<GatewayEvent, { type: T }> =>
      event.type === type && (streamId === undefined || ('streamId' in event && event.streamId === streamId));
    return events.find(isWanted);
  }

  return {
    get gateway() {
      return gateway;
    },
    events,
    port,
    ca: certificate.ca,
    signingKey: keys.privateKey,
    async grant(streamId, side, claims = {}) {
      const expiresAt = clock.now() + LIMITS.handshakeMs;
      const all: GrantClaims = { streamId, side, audience: gateway.bootId, expiresAt, ...claims };
      return {
        url: `wss://127.0.0.1:${port}${grantPath(streamId, side)}`,
        token: await signGrant(all, keys.privateKey),
      };
    },
    event(type, streamId) {
      return new Promise((resolve) => {
        const watcher = (): void => {
          const event = find(type, streamId);
          if (event === undefined) return;
          watchers.delete(watcher);
          resolve(event);
        };
        watchers.add(watcher);
        watcher();
      });
    },
    restart() {
      gateway = make();
      return gateway;
    },
    async stop() {
      gateway.destroy();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      await gateway.close(0);
    },
  };
}
