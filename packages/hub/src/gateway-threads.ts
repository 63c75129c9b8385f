import { createServer } from 'node:net';
import { GatewayThreads, type GatewayThreadsOptions, type ThreadAddress } from '@culvert/gateway';
import { closeServer, listen } from './api/listen.ts';
import type { KeyPair } from './auth/key-pair.ts';
import { gatewayThreads, type HubConfig } from './config.ts';
import type { GatewayAddress } from './gateway-config.ts';
import type { EventSink } from './observe/events.ts';

/** The threads' program beside this file, as source or as built. */
const ENTRY = new URL(import.meta.url.endsWith('.ts') ? './gateway-thread.ts' : './gateway-thread.js', import.meta.url);

/** What of a gateway's threads is not the streams' business. */
export interface GatewayThreadsTerms {
  readonly address: GatewayAddress;
  /** What clients are greeted with until {@link OpenThreads.present}. */
  readonly pair: KeyPair;
  readonly maxUnprovenPerAddress: number;
  readonly onTlsFailed: GatewayThreadsOptions['onTlsFailed'];
  /** For tests: another program. */
  readonly entry?: URL | undefined;
}

/** @returns undefined when none are configured */
export function gatewayThreadsTerms(
  config: HubConfig,
  pair: KeyPair,
  onEvent: EventSink,
  entry: URL | undefined,
): GatewayThreadsTerms | undefined {
  const address = gatewayThreads(config);
  return (
    address && {
      address,
      pair,
      maxUnprovenPerAddress: config.limits.unprovenPerAddress,
      onTlsFailed: (remoteAddress, detail) =>
        onEvent({ type: 'connection-refused', door: 'tls', remoteAddress, error: 'protocol_error', detail }),
      entry,
    }
  );
}

/** A gateway of several threads that takes streams. */
export interface OpenThreads {
  readonly gateway: GatewayThreads;
  readonly listening: ThreadAddress;
  /** For the URLs of streams. */
  readonly name: { readonly host: string; readonly port: number };
  present(pair: KeyPair): void;
}

/** @throws CulvertError `config_invalid` when the address cannot be had */
export async function openGatewayThreads(
  { address, pair, maxUnprovenPerAddress, onTlsFailed, entry = ENTRY }: GatewayThreadsTerms,
  options: Pick<GatewayThreadsOptions, 'grantKey' | 'clock' | 'onEvent' | 'limits' | 'plain'>,
): Promise<OpenThreads> {
  // Two programs of one user may share a port as threads do, and would take each other's streams.
  const alone = createServer();
  if (address.listen.port !== 0) await listen(alone, address.listen, 'gatewayListen');
  await closeServer(alone);
  const gateway = await GatewayThreads.start({
    ...options,
    threads: address.threads,
    entry,
    listen: address.listen,
    pair: plain(pair),
    maxUnprovenPerAddress,
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

function plain({ cert, key }: KeyPair): { cert: string; key: string } {
  return { cert, key };
}
