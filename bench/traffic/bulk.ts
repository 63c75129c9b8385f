import { join } from 'node:path';
import { Child } from '../processes/child.ts';
import type { Address } from './connection.ts';

/**
 * Runs `act` while a separate process downloads through a tunnel on `count` connections.
 * @throws Error when the downloads do not begin, or when a received byte was wrong
 */
export async function besideBulk<T>({ host, port }: Address, count: number, act: () => Promise<T>): Promise<T> {
  const bulk = new Child({
    command: process.execPath,
    args: ['--conditions=development', join(import.meta.dirname, 'bulk-main.ts'), host, String(port), String(count)],
  }).readOutput();
  try {
    await bulk.ready(/flowing/);
    const result = await act();
    if (bulk.process.exitCode !== null) throw new Error('the transfers beside it broke off');
    return result;
  } finally {
    await bulk.stop();
  }
}
