import { frameBlock } from '../traffic/frames.ts';
import { type Joined, pour } from '../traffic/pour.ts';
import type { Metric, Scenario } from './scenario.ts';

const GB = 1e9;
const MB = 1e6;
const STREAMS = [1, 16] as const;

/** Payload bytes by label: frames that fill a TLS record, and small ones, of which a message between threads carries few bytes. */
const FRAMES = { '16 KiB': 16_376, '1 KiB': 1_024 } as const;

/** Share of `--bytes` for the small frames. */
const SMALL_SHARE = 1 / 4;

const metrics = Object.keys(FRAMES).flatMap((label) =>
  STREAMS.flatMap((streams): Metric[] => [
    { name: `CPU, ${streams} × ${label}`, unit: 's/GB', better: 'lower' },
    { name: `${streams} × ${label}`, unit: 'MB/s', better: 'higher' },
  ]),
);

/** Measures the cost of threads for the gateway, and of the hand-off between them: the same bytes, with the sides of streams placed deliberately. */
export const threads: Scenario = {
  name: 'threads',
  title: ({ bytes }) =>
    `the gateway in one thread and in two, TLS to TLS, masked: ${(bytes / MB).toFixed(0)} MB on one stream and on 16 together (a quarter of it in frames of 1 KiB), every byte compared`,
  family: 'threads',
  baseline: 'no-threads',
  metrics: () => metrics,
  workUnit: 'GB',
  applies: () => true,
  warmUp: async (peer, amounts, watch) => {
    await threads.measure(peer, { ...amounts, bytes: amounts.bytes / 2 }, watch);
  },
  async measure({ middle }, { bytes }, { cpuSeconds }) {
    if (middle === undefined) throw new Error('this peer carries no frames');
    const values: Record<string, number> = {};
    let work = 0;
    for (const streams of STREAMS) {
      const joined: Joined[] = [];
      while (joined.length < streams) joined.push(await middle.join());
      for (const [label, frameBytes] of Object.entries(FRAMES)) {
        const block = frameBlock(frameBytes, 'random');
        const share = frameBytes === FRAMES['1 KiB'] ? SMALL_SHARE : 1;
        const times = Math.max(1, Math.ceil((bytes * share) / streams / block.payloadBytes));
        const cpuBefore = cpuSeconds();
        const from = performance.now();
        await Promise.all(joined.map((one) => pour(one, block.masked, block.unmasked, times)));
        const seconds = (performance.now() - from) / 1000;
        const moved = streams * times * block.payloadBytes;
        values[`CPU, ${streams} × ${label}`] = (cpuSeconds() - cpuBefore) / (moved / GB);
        values[`${streams} × ${label}`] = moved / MB / seconds;
        work += moved / GB;
      }
      for (const { from, to } of joined) {
        from.destroy();
        to.destroy();
      }
    }
    return { values, work };
  },
};
