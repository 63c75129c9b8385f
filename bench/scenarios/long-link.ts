import { longLink } from '../traffic/link.ts';
import { measureTransfer } from '../traffic/transfer.ts';
import type { Measurement, Scenario } from './scenario.ts';

const ROUND_TRIP_MS = 100;
const MB = 1e6;
/** Share of `--bytes`: a window that is too small shows early. */
const SHARE = 1 / 4;

export const longLinkScenario: Scenario = {
  name: 'long-link',
  title: ({ bytes }) =>
    `one connection over links of ${ROUND_TRIP_MS} ms there and back in all, ${((bytes * SHARE) / MB).toFixed(0)} MB down, then up; no loss`,
  family: 'tunnel',
  baseline: 'plain-tcp',
  link: () => longLink(ROUND_TRIP_MS),
  metrics: () => [
    { name: 'down', unit: 'MB/s', better: 'higher' },
    { name: 'up', unit: 'MB/s', better: 'higher' },
    { name: 'first byte', unit: 'ms', better: 'lower' },
  ],
  workUnit: 'GB',
  applies: () => true,
  warmUp: async (peer, { bytes }) => {
    await measure(peer, (bytes * SHARE) / 4);
  },
  measure: (peer, { bytes }) => measure(peer, bytes * SHARE),
};

async function measure({ entry }: Parameters<Scenario['warmUp']>[0], bytes: number): Promise<Measurement> {
  return { values: { ...(await measureTransfer(entry, bytes)) }, work: (2 * bytes) / 1e9 };
}
