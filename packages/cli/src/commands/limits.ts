import type { LimitView } from '@culvert/protocol';
import { withClient } from '../client.ts';
import { table, writeJson, writeOut } from '../standard-output.ts';
import type { StreamsFlags } from './streams.ts';

/** `culvert limits`: each limit, how much of it is used, and how often it was reached since the hub started. */
export function limits(flags: StreamsFlags): Promise<void> {
  return withClient(flags, 'monitor', async ({ streams }) => {
    const found = await streams.limits();
    if (flags.output === 'json') return writeJson(found);
    return writeOut(table(['LIMIT', 'UNIT', 'SET TO', 'USED', 'REACHED'], found.map(row)));
  });
}

function row({ name, unit, limit, used, reached }: LimitView): string[] {
  return [name, unit, limit === null ? 'none' : `${limit}`, used === null ? '-' : `${used}`, `${reached}`];
}
