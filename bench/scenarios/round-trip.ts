import { percentile } from '../statistics.ts';
import { Connection } from '../traffic/connection.ts';
import type { Scenario } from './scenario.ts';

const BYTES = 64;
const WARM_UP = 1_000;
const COUNTED = 5_000;
const THOUSAND = 1_000;

export const roundTrip: Scenario = {
  name: 'round-trip',
  title: () => `${BYTES} bytes there and back on one open connection, ${COUNTED} times a round`,
  family: 'tunnel',
  metrics: () => [
    { name: 'p50', unit: 'µs', better: 'lower' },
    { name: 'p99', unit: 'µs', better: 'lower' },
    { name: 'p99.9', unit: 'µs', better: 'lower' },
    { name: 'added p50', unit: 'µs', better: 'lower', addedTo: 'p50' },
    { name: 'added p99', unit: 'µs', better: 'lower', addedTo: 'p99' },
  ],
  workUnit: 'thousand round trips',
  applies: () => true,
  warmUp: async (peer) => {
    await pingPong(peer.entry, COUNTED);
  },
  measure: async (peer) => {
    const microseconds = (await pingPong(peer.entry, COUNTED)).map((ms) => ms * 1000);
    return {
      values: {
        p50: percentile(microseconds, 50),
        p99: percentile(microseconds, 99),
        'p99.9': percentile(microseconds, 99.9),
      },
      work: (WARM_UP + COUNTED) / THOUSAND,
    };
  },
};

async function pingPong(entry: { host: string; port: number }, count: number): Promise<Float64Array> {
  const connection = new Connection(entry);
  try {
    await connection.pingPong(BYTES, WARM_UP);
    return await connection.pingPong(BYTES, count);
  } finally {
    await connection.close();
  }
}
