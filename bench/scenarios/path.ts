import { lossyLink } from '../network/lossy-link.ts';
import { findProgram } from '../processes/programs.ts';
import { Connection } from '../traffic/connection.ts';
import { measureTransfer } from '../traffic/transfer.ts';
import type { Measurement, Scenario } from './scenario.ts';

const ROUND_TRIP_MS = 100;
const MB = 1e6;

/** Measures real TCP with real packets that are delayed and dropped, on one connection, compared with plain TCP on the same path. */
export function pathScenario(name: string, lossPercent: number, bytes: number): Scenario {
  return {
    name,
    title: () =>
      `one connection over packets that take ${ROUND_TRIP_MS} ms there and back, ${lossPercent} % of them lost each way: ${(bytes / MB).toFixed(1)} MB down, then up; of two legs each has half the delay and half the loss`,
    family: 'tunnel',
    baseline: 'plain-tcp',
    isolated: true,
    link: () => lossyLink({ roundTripMs: ROUND_TRIP_MS, lossPercent }),
    missing: () => {
      const absent = ['unshare', 'ip', 'python3'].filter((program) => findProgram(program) === undefined);
      return absent.length === 0 ? undefined : `${absent.join(', ')} not found: install util-linux, iproute2, python3`;
    },
    metrics: () => [
      { name: 'down', unit: 'MB/s', better: 'higher' },
      { name: 'up', unit: 'MB/s', better: 'higher' },
      { name: 'first byte', unit: 'ms', better: 'lower' },
      { name: 'packets lost', unit: '%', better: 'lower' },
    ],
    workUnit: 'GB',
    applies: () => true,
    // Windows and route caches start anew with each connection, so only the programs need a warm-up.
    warmUp: async ({ entry }) => {
      const connection = new Connection(entry);
      await connection.pingPong(16, 1).finally(() => connection.close());
    },
    async measure({ entry }, _amounts, { link }): Promise<Measurement> {
      const before = await link.counts?.();
      const values = await measureTransfer(entry, bytes);
      const after = await link.counts?.();
      if (before === undefined || after === undefined) throw new Error('the link does not count its packets');
      const dropped = after.dropped - before.dropped;
      const lost = (dropped / (dropped + after.passed - before.passed)) * 100;
      return { values: { ...values, 'packets lost': lost }, work: (2 * bytes) / 1e9 };
    },
  };
}
