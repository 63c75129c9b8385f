import type { RunningPeer } from '../peers/peer.ts';
import { Connection } from '../traffic/connection.ts';
import type { Amounts, Measurement, Scenario } from './scenario.ts';

const GB = 1e9;
const MB = 1e6;

export const throughput: Scenario = {
  name: 'throughput',
  title: ({ bytes }) => `one connection, ${(bytes / MB).toFixed(0)} MB down, then up, every byte compared`,
  family: 'tunnel',
  metrics: [
    { name: 'down', unit: 'MB/s', better: 'higher' },
    { name: 'up', unit: 'MB/s', better: 'higher' },
    { name: 'CPU down', unit: 's/GB', better: 'lower' },
    { name: 'CPU up', unit: 's/GB', better: 'lower' },
  ],
  workUnit: 'GB',
  applies: () => true,
  warmUp: async (peer, { bytes }) => {
    await transfer(peer, bytes, () => 0);
  },
  measure: (peer, { bytes }, cpuSeconds) => transfer(peer, bytes, cpuSeconds),
};

async function transfer(peer: RunningPeer, bytes: Amounts['bytes'], cpuSeconds: () => number): Promise<Measurement> {
  const connection = new Connection(peer.entry);
  try {
    // The connection is opened, all the way, before the clock runs.
    await connection.pingPong(64, 1);
    const atStart = cpuSeconds();
    const down = await connection.download(bytes);
    const between = cpuSeconds();
    const up = await connection.upload(bytes);
    const atEnd = cpuSeconds();
    const values: Record<string, number> = { down: bytes / MB / (down / 1000), up: bytes / MB / (up / 1000) };
    if (peer.processes.length > 0) {
      values['CPU down'] = (between - atStart) / (bytes / GB);
      values['CPU up'] = (atEnd - between) / (bytes / GB);
    }
    return { values, work: (2 * bytes) / GB };
  } finally {
    await connection.close();
  }
}
