import { createServer } from 'node:net';
import { GatewayThreads, type GatewayThreadsOptions, type ThreadAddress } from '@culvert/gateway';
import { gatewayThreads, type HubConfig, proxiedListeners } from '../config/config.ts';
import type { GatewayAddress } from '../config/gateway-config.ts';
import { closeServer, listen } from '../listeners/listen.ts';
import type { EventSink } from '../observe/events.ts';
import type { KeyPair } from '../tls/key-pair.ts';

/** The workers' entry file beside this one, as source or as built. */
const ENTRY = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url);

/** Settings of the gateway's worker threads that do not concern streams. */
export interface GatewayWorkersOptions {
  readonly address: GatewayAddress;
  /** The certificate used until {@link OpenThreads.present}. */
  readonly pair: KeyPair;
  /** Over all threads. */
  readonly maxUnauthenticatedPerAddress: number;
  readonly maxUnauthenticated: number;
  /** Networks of the load balancers whose connections begin with a PROXY header; absent: nobody's do. */
  readonly proxiesFrom: readonly string[] | undefined;
  readonly onTlsFailed: GatewayThreadsOptions['onTlsFailed'];
  /** For tests: another entry file. */
  readonly entry?: URL | undefined;
}

/** @returns undefined when none are configured */
export function gatewayWorkersOptions(
  config: HubConfig,
  pair: KeyPair,
  onEvent: EventSink,
  entry: URL | undefined,
): GatewayWorkersOptions | undefined {
  const address = gatewayThreads(config);
  const { listeners, from } = proxiedListeners(config);
  return (
    address && {
      address,
      pair,
      maxUnauthenticatedPerAddress: config.limits.unauthenticatedPerAddress,
      maxUnauthenticated: config.limits.unauthenticatedConnections,
      proxiesFrom: listeners.has('gatewayListen') ? from : undefined,
      onTlsFailed: (remoteAddress, detail) =>
        onEvent({ type: 'connection-refused', listener: 'tls', remoteAddress, error: 'protocol_error', detail }),
      entry,
    }
  );
}

/** A running gateway with worker threads. */
export interface OpenThreads {
  readonly gateway: GatewayThreads;
  readonly listening: ThreadAddress;
  /** For the URLs of streams. */
  readonly name: { readonly host: string; readonly port: number };
  present(pair: KeyPair): void;
}

/** @throws CulvertError `config_invalid` when the address cannot be had */
export async function openGatewayThreads(
  worker: GatewayWorkersOptions,
  gatewayOptions: Pick<GatewayThreadsOptions, 'grantKey' | 'clock' | 'onEvent' | 'limits' | 'plain'>,
): Promise<OpenThreads> {
  const {
    address,
    pair,
    maxUnauthenticatedPerAddress,
    maxUnauthenticated,
    proxiesFrom,
    onTlsFailed,
    entry = ENTRY,
  } = worker;
  // Two processes of one user may share a port as threads do, and would take each other's streams.
  const alone = createServer();
  if (address.listen.port !== 0) await listen(alone, address.listen, 'gatewayListen');
  await closeServer(alone);
  const gateway = await GatewayThreads.start({
    ...gatewayOptions,
    threads: address.threads,
    entry,
    listen: address.listen,
    pair: plain(pair),
    // The threads know nothing of each other's connections, and an address's come to all of them.
    maxUnauthenticatedPerAddress: limitPerThread(maxUnauthenticatedPerAddress, address.threads),
    maxUnauthenticated: limitPerThread(maxUnauthenticated, address.threads),
    proxiesFrom,
    onTlsFailed,
  });
  const [listening = { host: '', port: address.listen.port }] = gateway.addresses;
  return {
    gateway,
    listening,
    name: { host: address.name.host, port: address.name.port ?? listening.port },
    present: (next) => gateway.present(plain(next)),
  };
}

/** Minimum connections per thread: the operating system does not divide them evenly. */
const MIN_PER_THREAD = 64;

function limitPerThread(limit: number, threads: number): number {
  return Math.min(limit, Math.max(MIN_PER_THREAD, Math.ceil(limit / threads)));
}

function plain({ cert, key }: KeyPair): { cert: string; key: string } {
  return { cert, key };
}
