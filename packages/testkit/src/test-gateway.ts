import type { KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Gateway, type GatewayControl, type GatewayEvent, type GatewayLimits } from '@culvert/gateway';
import { LIMITS, type Side } from '@culvert/protocol';
import { type Grant, type GrantClaims, grantPath, newGrantKeys, signGrant } from '@culvert/protocol/grant';
import { type Clock, systemClock } from '@culvert/stream';
import { FakeClock } from './fake-clock.ts';
import { testCertificate } from './test-certificate.ts';
import { startThreads, type TestThreads } from './test-threads.ts';

export interface TestGatewayOptions {
  readonly clock?: Clock;
  readonly limits?: Partial<GatewayLimits>;
  /** The option of the same name of {@link Gateway}. */
  readonly plain?: boolean;
  /**
   * Starts a gateway with two threads. `divided`: each thread has its own port; devices connect to the first and services to the second.
   * `together`: both threads share one port, and the operating system distributes the connections. {@link TestGateway.advance} is the only way to
   * advance the threads' clocks.
   */
  readonly threads?: 'together' | 'divided' | undefined;
}

/** A gateway behind a real TLS server on 127.0.0.1, and the key that signs its grants. */
export interface TestGateway {
  readonly gateway: GatewayControl;
  /** The gateway's threads; undefined if it has none. */
  readonly threads: TestThreads | undefined;
  /** Bytes that the gateway buffers for streams and waiting connections, in all threads. */
  readonly bufferedBytes: number;
  readonly events: readonly GatewayEvent[];
  /** The port to which this side connects. */
  port(side: Side): number;
  readonly ca: string;
  readonly signingKey: KeyObject;
  /** Creates a grant for one side, as the hub does. `claims` replaces single claims. */
  grant(streamId: string, side: Side, claims?: Partial<GrantClaims>): Promise<Grant>;
  /** Resolves with the first event of this type, past or future, about the stream; about any stream if no id is given. */
  event<T extends GatewayEvent['type']>(type: T, streamId?: string): Promise<Extract<GatewayEvent, { type: T }>>;
  /** Advances the fake clock with which the gateway was started, and the clocks of its threads, by `ms` milliseconds. */
  advance(ms: number): Promise<void>;
  /** Replaces the gateway with a new one, as a restart does: the key stays the same and the boot id changes. */
  restart(): void;
  stop(): Promise<void>;
}

/** The members that differ between a gateway in this thread and a gateway with several threads. */
type Running = Pick<TestGateway, 'gateway' | 'threads' | 'bufferedBytes' | 'port' | 'restart' | 'stop'>;

/** Starts a gateway on port 0. */
export async function startGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const { clock = systemClock } = options;
  const keys = await newGrantKeys();
  const certificate = await testCertificate();
  const events: GatewayEvent[] = [];
  const watchers = new Set<() => void>();
  const onEvent = (event: GatewayEvent): void => {
    events.push(event);
    for (const watcher of [...watchers]) watcher();
  };
  const start = options.threads === undefined ? startInThisThread : startInThreads;
  const running = await start({ ...options, clock, grantKey: keys.publicKey, certificate, onEvent });

  function find<T extends GatewayEvent['type']>(type: T, streamId?: string) {
    const isWanted = (event: GatewayEvent): event is Extract<GatewayEvent, { type: T }> =>
      event.type === type && (streamId === undefined || ('streamId' in event && event.streamId === streamId));
    return events.find(isWanted);
  }

  return {
    get gateway() {
      return running.gateway;
    },
    get bufferedBytes() {
      return running.bufferedBytes;
    },
    threads: running.threads,
    port: running.port,
    restart: running.restart,
    stop: running.stop,
    events,
    ca: certificate.ca,
    signingKey: keys.privateKey,
    async grant(streamId, side, claims = {}) {
      const expiresAt = clock.now() + LIMITS.handshakeMs;
      const all: GrantClaims = { streamId, side, audience: running.gateway.bootId, expiresAt, ...claims };
      return {
        url: `wss://127.0.0.1:${running.port(side)}${grantPath(streamId, side)}`,
        token: await signGrant(all, keys.privateKey),
      };
    },
    async advance(ms) {
      if (!(clock instanceof FakeClock)) throw new Error('It was started without a fake clock.');
      await (running.threads ?? clock).advance(ms);
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
  };
}

interface Start extends TestGatewayOptions {
  readonly clock: Clock;
  readonly grantKey: KeyObject;
  readonly certificate: Awaited<ReturnType<typeof testCertificate>>;
  readonly onEvent: (event: GatewayEvent) => void;
}

async function startInThisThread(options: Start): Promise<Running> {
  const { cert, key } = options.certificate;
  const server = createServer({ cert, key });
  let gateway = new Gateway(options);
  server.on('upgrade', (request, socket, head) => void gateway.handleUpgrade(request, socket, head));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    get gateway() {
      return gateway;
    },
    get bufferedBytes() {
      return gateway.bufferedBytes;
    },
    threads: undefined,
    port: () => port,
    restart() {
      gateway = new Gateway(options);
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

async function startInThreads(options: Start): Promise<Running> {
  const { limits = {}, plain = false, certificate } = options;
  const clock = options.clock instanceof FakeClock ? options.clock : new FakeClock(Date.now());
  const threads = await startThreads({
    ...options,
    limits,
    plain,
    clock,
    pair: certificate,
    threads: 2,
    together: options.threads === 'together',
  });
  return {
    gateway: threads.gateway,
    get bufferedBytes() {
      return [...threads.reports.values()].reduce((sum, { bufferedBytes }) => sum + bufferedBytes, 0);
    },
    threads,
    port: (side) => threads.gateway.addresses[side === 'service' ? 1 : 0]?.port ?? 0,
    restart() {
      throw new Error('Only a gateway in this thread can be restarted.');
    },
    stop: () => threads.stop(),
  };
}
