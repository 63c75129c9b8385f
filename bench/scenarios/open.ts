import { percentile } from '../statistics.ts';
import { type Address, Connection } from '../traffic/connection.ts';
import type { Scenario } from './scenario.ts';

const BYTES = 16;
const ONE_BY_ONE = 100;
const AT_ONCE = [8, 32, 64] as const;
const SIDE_BY_SIDE = 400;

export const open: Scenario = {
  name: 'open',
  title: () =>
    `new connections, each with ${BYTES} bytes there and back: ${ONE_BY_ONE} one after the other, then ${SIDE_BY_SIDE} each with ${AT_ONCE.join(', ')} at once`,
  family: 'tunnel',
  metrics: () => [
    { name: 'first byte p50', unit: 'ms', better: 'lower' },
    { name: 'first byte p99', unit: 'ms', better: 'lower' },
    { name: 'first byte p99.9', unit: 'ms', better: 'lower' },
    { name: 'added p50', unit: 'ms', better: 'lower', addedTo: 'first byte p50' },
    { name: 'opened, 1 at a time', unit: '/s', better: 'higher' },
    ...AT_ONCE.map((count) => ({ name: `opened, ${count} at once`, unit: '/s', better: 'higher' as const })),
  ],
  workUnit: 'connection',
  applies: () => true,
  warmUp: async (peer) => {
    for (const count of AT_ONCE) await openMany(peer.entry, SIDE_BY_SIDE, count);
  },
  measure: async (peer) => {
    const single = await openMany(peer.entry, ONE_BY_ONE, 1);
    const values: Record<string, number> = {};
    for (const count of AT_ONCE) {
      const many = await openMany(peer.entry, SIDE_BY_SIDE, count);
      values[`opened, ${count} at once`] = SIDE_BY_SIDE / many.seconds;
    }
    return {
      values: {
        ...values,
        'first byte p50': percentile(single.firstByteMs, 50),
        'first byte p99': percentile(single.firstByteMs, 99),
        'first byte p99.9': percentile(single.firstByteMs, 99.9),
        'opened, 1 at a time': ONE_BY_ONE / single.seconds,
      },
      work: ONE_BY_ONE + AT_ONCE.length * SIDE_BY_SIDE,
    };
  },
};

interface Opened {
  readonly firstByteMs: readonly number[];
  readonly seconds: number;
}

async function openMany(entry: Address, count: number, atOnce: number): Promise<Opened> {
  const firstByteMs: number[] = [];
  let left = count;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const started = performance.now();
      const connection = new Connection(entry);
      try {
        await connection.pingPong(BYTES, 1);
        firstByteMs.push(performance.now() - started);
      } finally {
        await connection.close();
      }
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: atOnce }, worker));
  return { firstByteMs, seconds: (performance.now() - start) / 1000 };
}
