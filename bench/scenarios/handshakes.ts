import type { RunningPeer } from '../peers/peer.ts';
import { findProgram } from '../processes/programs.ts';
import { allowedProcessors, pin, treeUsage } from '../processes/usage.ts';
import type { Measurement, Scenario } from './scenario.ts';

/** Streams opened in a round, keyed by the number opened at the same time. */
const COUNTS = new Map([
  [1, 150],
  [8, 800],
  [64, 1_200],
]);
/** Maximum number of processes that open streams: more are not needed to keep one processor busy. */
const MOST_CLIENTS = 6;

/** Measures how many streams per second a hub with one processor opens. */
export const handshakes: Scenario = {
  name: 'handshakes',
  title: () =>
    `streams opened by the SDKs, each with 16 bytes there and back; the hub on one processor of its own, devices and services on the others`,
  family: 'tunnel',
  metrics: () => [
    ...[...COUNTS.keys()].flatMap((atOnce) => [
      { name: `${atOnce} at once`, unit: '/s', better: 'higher' as const },
      { name: `${atOnce} at once: hub's CPU each`, unit: 'ms', better: 'lower' as const },
      { name: `${atOnce} at once: hub's processor in use`, unit: '%', better: 'lower' as const },
      { name: `${atOnce} at once: p50`, unit: 'ms', better: 'lower' as const },
      { name: `${atOnce} at once: p99`, unit: 'ms', better: 'lower' as const },
      { name: `${atOnce} at once: p99.9`, unit: 'ms', better: 'lower' as const },
    ]),
    { name: "hub's processor full", unit: '/s', better: 'higher' },
  ],
  workUnit: 'stream',
  missing: () => {
    if (findProgram('taskset') === undefined) return 'taskset not found: install util-linux';
    return allowedProcessors().length < 2 ? 'it needs two processors, one for the hub alone' : undefined;
  },
  applies: (peer) => peer.ends !== undefined && peer.processes.length > 0,
  warmUp: async (peer) => {
    await separate(peer);
    for (const [atOnce, count] of COUNTS) await peer.ends?.open(count, atOnce);
  },
  measure,
};

/** Assigns one processor to the hub, and all others to the ends. */
async function separate({ ends, processes }: RunningPeer): Promise<void> {
  const [first = 0, ...others] = allowedProcessors();
  const clients = (await ends?.ready(Math.min(others.length, MOST_CLIENTS))) ?? [];
  await pin(processes[0]?.pid ?? 0, [first]);
  for (const client of clients) await pin(client, others);
}

async function measure({ ends, processes }: RunningPeer): Promise<Measurement> {
  const pid = processes[0]?.pid ?? 0;
  const values: Record<string, number> = {};
  let work = 0;
  for (const [atOnce, asked] of COUNTS) {
    const before = treeUsage(pid).cpuSeconds;
    const opened = await ends?.open(asked, atOnce);
    const cpuSeconds = treeUsage(pid).cpuSeconds - before;
    if (opened === undefined) throw new Error('there are no ends to open streams');
    const { count, seconds } = opened;
    work += count;
    values[`${atOnce} at once`] = count / seconds;
    values[`${atOnce} at once: hub's CPU each`] = (cpuSeconds / count) * 1000;
    values[`${atOnce} at once: hub's processor in use`] = (cpuSeconds / seconds) * 100;
    for (const name of ['p50', 'p99', 'p99.9'] as const) values[`${atOnce} at once: ${name}`] = opened[name];
    // The rate at which the hub would use its whole processor, extrapolated from the processor time at the last and largest load.
    values["hub's processor full"] = count / cpuSeconds;
  }
  return { values, work };
}
