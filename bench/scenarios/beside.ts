import type { RunningPeer } from '../peers/peer.ts';
import { percentile } from '../statistics.ts';
import { besideBulk } from '../traffic/bulk.ts';
import { Connection } from '../traffic/connection.ts';
import type { Measurement, Scenario } from './scenario.ts';

const BYTES = 64;
const WARM_UP = 50;
const COUNTED = 1_000;
/** Round trips between two checks of the clock. */
const PIECE = 100;
/** Milliseconds after which no further round trips begin: beside a flood, each may take tens of milliseconds. */
const LONGEST_MS = 4_000;
const BULK = [1, 8] as const;
const MB = 1e6;

/** Measures whether one stream that floods the tunnel starves another. */
export const beside: Scenario = {
  name: 'beside',
  title: () =>
    `${BYTES} bytes there and back on one open connection, ${COUNTED} times or for ${LONGEST_MS / 1000} s, alone and beside 1 and ${BULK[1]} downloads at full speed`,
  family: 'tunnel',
  metrics: () =>
    ['alone', ...BULK.map((count) => `beside ${count}`)].flatMap((name) => [
      { name: `${name}, p50`, unit: 'µs', better: 'lower' as const },
      { name: `${name}, p99`, unit: 'µs', better: 'lower' as const },
      { name: `${name}, p99.9`, unit: 'µs', better: 'lower' as const },
      ...(name === 'alone' ? [] : [{ name: `${name}, the downloads`, unit: 'MB/s', better: 'higher' as const }]),
    ]),
  workUnit: 'thousand round trips',
  applies: () => true,
  warmUp: async (peer) => {
    await measure(peer);
  },
  measure,
};

async function measure({ entry }: RunningPeer): Promise<Measurement> {
  const values: Record<string, number> = {};
  const connection = new Connection(entry);
  let trips = 0;
  try {
    const take = async (name: string): Promise<void> => {
      await connection.pingPong(BYTES, WARM_UP);
      const microseconds: number[] = [];
      const until = performance.now() + LONGEST_MS;
      while (microseconds.length < COUNTED && performance.now() < until) {
        for (const ms of await connection.pingPong(BYTES, PIECE)) microseconds.push(ms * 1000);
      }
      trips += microseconds.length;
      values[`${name}, p50`] = percentile(microseconds, 50);
      values[`${name}, p99`] = percentile(microseconds, 99);
      values[`${name}, p99.9`] = percentile(microseconds, 99.9);
    };
    await take('alone');
    for (const count of BULK) {
      const bulk = { connections: count, direction: 'down' } as const;
      const { bytesPerSecond } = await besideBulk(entry, bulk, () => take(`beside ${count}`));
      values[`beside ${count}, the downloads`] = bytesPerSecond / MB;
    }
    return { values, work: trips / 1000 };
  } finally {
    await connection.close();
  }
}
