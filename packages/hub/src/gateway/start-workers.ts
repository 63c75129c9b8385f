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
  /** Maximum unauthenticated connections of one address, over all threads together. */
  readonly maxUnauthenticatedPerAddress: number;
  /** Maximum unauthenticated connections of all addresses, over all threads together. */
  readonly maxUnauthenticated: number;
  /** Networks of the load balancers whose connections begin with a PROXY header; undefined when none do. */
  readonly proxiesFrom: readonly string[] | undefined;
  readonly onTlsFailed: GatewayThreadsOptions['onTlsFailed'];
  /** The workers' entry file, where it is not the default; only tests set it. */
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

/** @throws CulvertError `config_invalid` when the hub cannot listen on the address */
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
  // The threads share the port by SO_REUSEPORT. A second process of the same user could share it too and would receive some of the streams,
  // so listen once without that option: this fails when the port is in use.
  const exclusive = createServer();
  if (address.listen.port !== 0) await listen(exclusive, address.listen, 'gatewayListen');
  await closeServer(exclusive);
  const gateway = await GatewayThreads.start({
    ...gatewayOptions,
    threads: address.threads,
    entry,
    listen: address.listen,
    pair: plain(pair),
    // Each thread counts only its own connections, and the connections of one address are spread over all threads.
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

/** Minimum limit per thread on connections: the operating system does not divide connections evenly among the threads. */
const MIN_PER_THREAD = 64;

function limitPerThread(limit: number, threads: number): number {
  return Math.min(limit, Math.max(MIN_PER_THREAD, Math.ceil(limit / threads)));
}

function plain({ cert, key }: KeyPair): { cert: string; key: string } {
  return { cert, key };
}
