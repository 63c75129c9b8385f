import { join } from 'node:path';
import { Child } from '../processes/child.ts';
import type { Address } from './connection.ts';

/** What a separate process moves through a tunnel, as fast as the tunnel takes it. */
export interface Bulk {
  readonly connections: number;
  readonly direction: 'down' | 'up';
  /** Bytes that a connection moves before it asks for the next: their sum over all connections is how exact the rate is. */
  readonly pieceBytes?: number;
}

/** A piece for tunnels that move hundreds of MB a second. */
const PIECE_BYTES = 1_048_576;
/** Milliseconds within which the transfers must begin: on a slow link a piece on each connection takes seconds. */
const BEGIN_MS = 60_000;

/**
 * Runs `act` while a separate process moves bytes through a tunnel.
 * @returns what `act` returned, and the bytes that were moved each second meanwhile
 * @throws Error when the transfers do not begin, or when a received byte was wrong
 */
export async function besideBulk<T>(
  { host, port }: Address,
  { connections, direction, pieceBytes = PIECE_BYTES }: Bulk,
  act: () => Promise<T>,
): Promise<{ readonly result: T; readonly bytesPerSecond: number }> {
  const path = join(import.meta.dirname, 'bulk-main.ts');
  const args = [host, port, connections, direction, pieceBytes].map(String);
  const bulk = new Child({
    command: process.execPath,
    args: ['--conditions=development', path, ...args],
  }).readOutput();
  const moved = async (when: string): Promise<number> => {
    bulk.process.stdin.write(`${when}\n`);
    return Number((await bulk.ready(new RegExp(`moved ${when} (\\d+)`)))[1]);
  };
  try {
    await bulk.ready(/flowing/, BEGIN_MS);
    const from = performance.now();
    const before = await moved('before');
    const result = await act();
    const after = await moved('after');
    if (bulk.process.exitCode !== null) throw new Error('the transfers beside it broke off');
    return { result, bytesPerSecond: (after - before) / ((performance.now() - from) / 1000) };
  } finally {
    await bulk.stop();
  }
}
