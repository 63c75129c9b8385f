import type { RunningPeer } from '../peers/peer.ts';
import { Connection } from '../traffic/connection.ts';
import type { Metric, Scenario, Watch } from './scenario.ts';

const GB = 1e9;
const MB = 1e6;

/** Numbers of connections used at the same time. */
const COUNTS = [1, 8] as const;

export const throughput: Scenario = {
  name: 'throughput',
  title: ({ bytes }) =>
    `${(bytes / MB).toFixed(0)} MB down, then up, on one connection, then on 8 together, every byte compared`,
  family: 'tunnel',
  metrics: () =>
    COUNTS.flatMap((count): Metric[] => [
      { name: `down${labelOf(count)}`, unit: 'MB/s', better: 'higher' },
      { name: `up${labelOf(count)}`, unit: 'MB/s', better: 'higher' },
      { name: `CPU down${labelOf(count)}`, unit: 's/GB', better: 'lower' },
      { name: `CPU up${labelOf(count)}`, unit: 's/GB', better: 'lower' },
    ]),
  workUnit: 'GB',
  applies: () => true,
  warmUp: async (peer, { bytes }, watch) => {
    await transfer(peer, 1, bytes, watch);
  },
  measure: async (peer, { bytes }, watch) => {
    const values: Record<string, number> = {};
    for (const count of COUNTS) Object.assign(values, await transfer(peer, count, bytes, watch));
    return { values, work: (2 * COUNTS.length * bytes) / GB };
  },
};

function labelOf(count: number): string {
  return count === 1 ? '' : ` × ${count}`;
}

/** Moves `bytes` down and up, spread over `count` connections. */
async function transfer(
  { entry, processes }: RunningPeer,
  count: number,
  bytes: number,
  { cpuSeconds }: Watch,
): Promise<Record<string, number>> {
  const connections = Array.from({ length: count }, () => new Connection(entry));
  const label = labelOf(count);
  const share = Math.ceil(bytes / count);
  const timed = async (act: (connection: Connection) => Promise<unknown>): Promise<number> => {
    const from = performance.now();
    await Promise.all(connections.map(act));
    return (performance.now() - from) / 1000;
  };
  try {
    // Opens the connections end to end before the measured time begins.
    await timed((connection) => connection.pingPong(64, 1));
    const atStart = cpuSeconds();
    const down = await timed((connection) => connection.download(share));
    const between = cpuSeconds();
    const up = await timed((connection) => connection.upload(share));
    const atEnd = cpuSeconds();
    const moved = share * count;
    return {
      [`down${label}`]: moved / MB / down,
      [`up${label}`]: moved / MB / up,
      ...(processes.length === 0
        ? {}
        : {
            [`CPU down${label}`]: (between - atStart) / (moved / GB),
            [`CPU up${label}`]: (atEnd - between) / (moved / GB),
          }),
    };
  } finally {
    for (const connection of connections) await connection.close();
  }
}
