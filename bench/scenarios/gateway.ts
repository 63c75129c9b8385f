import type { RunningMiddle } from '../middles/middle.ts';
import type { RunningPeer } from '../peers/peer.ts';
import { type FrameBlock, frameBlock } from '../traffic/frames.ts';
import { type Joined, pour } from '../traffic/pour.ts';
import type { Measurement, Metric, Scenario, Watch } from './scenario.ts';

const GB = 1e9;
const MB = 1e6;
const STREAMS = [1, 64] as const;
const KEYS = ['random', 'zero'] as const;
const TITLES = { random: 'masked', zero: 'zero mask' } as const;

/** Share of `--bytes` for the smallest frames, each of which costs as much as a large one. */
const SMALL_SHARE = 1 / 4;
const SMALL_BYTES = 1_000;

/** Measures the middle alone, between two TLS connections of the driver, with frames of one size. */
export function gatewayScenario(label: string, frameBytes: number): Scenario {
  const title = (streams: number, key: (typeof KEYS)[number]): string => `${streams} × ${TITLES[key]}`;
  const metrics = STREAMS.flatMap((streams) =>
    KEYS.flatMap((key): Metric[] => [
      { name: `CPU, ${title(streams, key)}`, unit: 's/GB', better: 'lower' },
      { name: title(streams, key), unit: 'MB/s', better: 'higher' },
    ]),
  );
  const measure = async (peer: RunningPeer, bytes: number, { cpuSeconds }: Watch): Promise<Measurement> => {
    const { middle } = peer;
    if (middle === undefined) throw new Error('this peer carries no frames');
    const values: Record<string, number> = {};
    let work = 0;
    for (const streams of STREAMS) {
      const joined = await joinMany(middle, streams);
      for (const key of KEYS) {
        const block = frameBlock(frameBytes, key);
        const times = Math.max(1, Math.ceil(bytes / streams / block.payloadBytes));
        const cpuBefore = cpuSeconds();
        const from = performance.now();
        await pourAll(middle, joined, block, times);
        const seconds = (performance.now() - from) / 1000;
        const moved = streams * times * block.payloadBytes;
        values[`CPU, ${title(streams, key)}`] = (cpuSeconds() - cpuBefore) / (moved / GB);
        values[title(streams, key)] = moved / MB / seconds;
        work += moved / GB;
      }
      for (const { from, to } of joined) {
        from.destroy();
        to.destroy();
      }
    }
    return { values, work };
  };
  const share = frameBytes < SMALL_BYTES ? SMALL_SHARE : 1;
  return {
    name: `gateway-${label}`,
    title: ({ bytes }) =>
      `TLS to TLS through one process, frames of ${label}: ${((bytes * share) / MB).toFixed(0)} MB on one stream and on 64 together, every byte compared`,
    family: 'middle',
    baseline: 'haproxy',
    metrics: () => metrics,
    workUnit: 'GB',
    applies: () => true,
    warmUp: async (peer, { bytes }, watch) => {
      await measure(peer, (bytes * share) / 2, watch);
    },
    measure: (peer, { bytes }, watch) => measure(peer, bytes * share, watch),
  };
}

async function joinMany(middle: RunningMiddle, count: number): Promise<Joined[]> {
  const joined: Joined[] = [];
  while (joined.length < count) joined.push(await middle.join());
  return joined;
}

async function pourAll(
  { unmasks }: RunningMiddle,
  joined: readonly Joined[],
  block: FrameBlock,
  times: number,
): Promise<void> {
  const expected = unmasks ? block.unmasked : block.masked;
  await Promise.all(joined.map((one) => pour(one, block.masked, expected, times)));
}
