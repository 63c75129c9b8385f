import { UNOBSERVED } from '../hubs/observed-hubs.ts';
import type { Scenario } from './scenario.ts';

const HANDSHAKES = 1_000;
const AT_ONCE = 8;
const GB = 1e9;
const MB = 1e6;

/** Measures the hub's cost of observing every stream. */
export const observe: Scenario = {
  name: 'observe',
  title: ({ bytes }) =>
    `${HANDSHAKES} streams opened, ${AT_ONCE} at once, and ${(bytes / MB).toFixed(0)} MB on one, every byte compared; processor time of hubs that differ in who hears of their streams`,
  family: 'hub',
  baseline: UNOBSERVED,
  metrics: () => [
    { name: 'CPU of a stream opened', unit: 'ms', better: 'lower' },
    { name: 'CPU of bytes', unit: 's/GB', better: 'lower' },
  ],
  workUnit: 'stream',
  applies: (peer) => peer.ends !== undefined,
  warmUp: async ({ ends }, { bytes }) => {
    await ends?.ready(1);
    await ends?.open(HANDSHAKES, AT_ONCE);
    await ends?.pour(bytes);
  },
  measure: async ({ ends }, { bytes }, { cpuSeconds }) => {
    const atStart = cpuSeconds();
    await ends?.open(HANDSHAKES, AT_ONCE);
    const between = cpuSeconds();
    await ends?.pour(bytes);
    return {
      values: {
        'CPU of a stream opened': ((between - atStart) / HANDSHAKES) * 1000,
        'CPU of bytes': (cpuSeconds() - between) / (bytes / GB),
      },
      work: HANDSHAKES,
    };
  },
};
