import { lookup } from 'node:dns/promises';
import { connect, isIP } from 'node:net';
import { performance } from 'node:perf_hooks';
import { CulvertError, formatHostPort } from '@culvert/protocol';
import { networkError, OPEN_MS, stateKeepAlive } from '@culvert/stream';
import type { Found } from './check.ts';

/** The first host that a connection goes to: the hub itself, or the outbound proxy. */
export interface FirstHop {
  readonly host: string;
  readonly port: number;
  readonly isProxy: boolean;
}

/** Looks up a name in the same way as connections do. */
export async function lookUp({ host, isProxy }: FirstHop): Promise<Found> {
  const what = isProxy ? 'the proxy' : 'the hub';
  if (isIP(host) !== 0) return { found: `${host} is an address, there is nothing to look up` };
  const started = performance.now();
  try {
    const addresses = (await lookup(host, { all: true })).map(({ address }) => address);
    const ms = elapsedMs(started);
    return {
      found: `${what} ${host} is ${addresses.join(', ')} (${ms} ms)`,
      data: { ms, addresses: addresses.join(' ') },
    };
  } catch (error) {
    throw networkError(error, host);
  }
}

/** Opens a TCP connection and closes it. */
export function reach({ host, port, isProxy }: FirstHop): Promise<Found> {
  const where = formatHostPort(host, port);
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    stateKeepAlive(socket, 'dialled');
    socket.setTimeout(OPEN_MS, () =>
      socket.destroy(new CulvertError('unreachable', `${where} did not answer within ${OPEN_MS / 1000} s.`)),
    );
    socket.once('connect', () => {
      const ms = elapsedMs(started);
      const found = `${isProxy ? 'the proxy ' : ''}${where} accepts connections (${ms} ms)`;
      resolve({ found, data: { ms, address: socket.remoteAddress ?? '' } });
      socket.destroy();
    });
    socket.once('error', (error) => reject(networkError(error, where)));
  });
}

/** Milliseconds elapsed since `started` (a `performance.now()` value), rounded to one decimal. */
export function elapsedMs(started: number): number {
  return Math.round((performance.now() - started) * 10) / 10;
}
