import { setTimeout as sleep } from 'node:timers/promises';
import type { RunningPeer } from '../peers/peer.ts';
import { treeUsage } from '../processes/usage.ts';
import type { Amounts, Measurement, Scenario, Watch } from './scenario.ts';

/** Milliseconds for which the idle devices are observed. */
const QUIET_MS = 10_000;
const CYCLES = 20;
/** Devices of one cycle of the test whether memory is released. */
const CYCLE_COUNT = 50;
/** Devices for the warm-up: few, because the memory that many leave in the heap would be missing from the measured cost of the next devices. */
const WARM_UP_COUNT = 20;
const KB = 1_000;

const written = (count: number): string => count.toLocaleString('en');

export const devices: Scenario = {
  name: 'devices',
  title: ({ devices: counts }) =>
    `${counts.map(written).join(', then ')} devices attached by MQTT over WebSocket, idle for ${QUIET_MS / 1000} s; all detached; ${CYCLES} times ${CYCLE_COUNT} attached and detached`,
  family: 'tunnel',
  weight: 3,
  metrics: ({ devices: counts }) => [
    ...counts.flatMap((count) => [
      { name: `${written(count)}: memory each`, unit: 'KB', better: 'lower' as const },
      { name: `${written(count)}: CPU of a thousand`, unit: 'ms/s', better: 'lower' as const },
    ]),
    { name: 'attached', unit: '/s', better: 'higher' },
    { name: 'all detached, above base', unit: 'MB', better: 'lower' },
    { name: `after ${CYCLES} cycles, above that`, unit: 'MB', better: 'lower' },
    { name: 'of it in the second half', unit: 'MB', better: 'lower' },
  ],
  workUnit: 'device',
  applies: (peer) => peer.devices !== undefined,
  warmUp: async (peer, amounts, { progress }) => {
    await peer.devices?.create(Math.max(...amounts.devices), progress);
    await peer.devices?.attach(Math.min(WARM_UP_COUNT, ...amounts.devices), progress);
    await peer.devices?.detach();
  },
  measure,
};

/** Resident memory before the first round, used for all rounds: see {@link WARM_UP_COUNT}. */
const bases = new WeakMap<RunningPeer, number>();

async function measure(peer: RunningPeer, { devices: counts }: Amounts, { progress }: Watch): Promise<Measurement> {
  const { devices: attachable, processes } = peer;
  const pid = processes[0]?.pid ?? 0;
  const most = Math.max(...counts);
  const values: Record<string, number> = {};
  await sleep(QUIET_MS);
  const base = bases.get(peer) ?? treeUsage(pid).residentBytes;
  bases.set(peer, base);
  let attaching = 0;
  for (const count of counts) {
    const from = performance.now();
    await attachable?.attach(count, progress);
    attaching += performance.now() - from;
    await sleep(QUIET_MS / 2);
    const before = treeUsage(pid);
    await sleep(QUIET_MS);
    const held = treeUsage(pid);
    const cpuMs = (held.cpuSeconds - before.cpuSeconds) * 1000;
    values[`${written(count)}: memory each`] = (held.residentBytes - base) / count / KB;
    values[`${written(count)}: CPU of a thousand`] = (cpuMs / (QUIET_MS / 1000) / count) * 1_000;
  }
  await attachable?.detach();
  const detached = await settled(pid);
  let half = detached;
  for (let cycle = 0; cycle < CYCLES; cycle++) {
    if (cycle === CYCLES / 2) half = await settled(pid);
    await attachable?.attach(Math.min(CYCLE_COUNT, most), () => undefined);
    await attachable?.detach();
  }
  const after = await settled(pid);
  return {
    values: {
      ...values,
      attached: most / (attaching / 1000),
      'all detached, above base': (detached - base) / KB / KB,
      [`after ${CYCLES} cycles, above that`]: (after - detached) / KB / KB,
      'of it in the second half': (after - half) / KB / KB,
    },
    work: most,
  };
}

/** Returns the resident memory of a process after a quiet period. */
async function settled(pid: number): Promise<number> {
  await sleep(QUIET_MS);
  return treeUsage(pid).residentBytes;
}
