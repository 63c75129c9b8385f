import { setTimeout as sleep } from 'node:timers/promises';
import type { RunningPeer } from '../peers/peer.ts';
import { treeUsage } from '../processes/usage.ts';
import type { Measurement, Scenario } from './scenario.ts';

/** Milliseconds in which the devices are watched doing nothing. */
const QUIET_MS = 10_000;
const CYCLES = 20;
/** Devices of one cycle that tests whether memory comes back. */
const CYCLE_COUNT = 50;
/** Devices that warm it up: few, since what many leave behind in its heap would be missing from the cost of the next. */
const WARM_UP_COUNT = 20;
const KB = 1_000;

export const devices: Scenario = {
  name: 'devices',
  title: ({ devices: count }) =>
    `${count} devices attached by MQTT over WebSocket, idle for ${QUIET_MS / 1000} s; then ${CYCLES} times ${CYCLE_COUNT} attached and detached`,
  family: 'tunnel',
  metrics: [
    { name: 'memory each', unit: 'KB', better: 'lower' },
    { name: 'CPU of a thousand', unit: 'ms/s', better: 'lower' },
    { name: 'attached', unit: '/s', better: 'higher' },
    { name: `after ${CYCLES} cycles, above base`, unit: 'MB', better: 'lower' },
  ],
  workUnit: 'device',
  applies: (peer) => peer.devices !== undefined,
  warmUp: async (peer, amounts) => {
    await peer.devices?.create(amounts.devices);
    await peer.devices?.attach(Math.min(WARM_UP_COUNT, amounts.devices));
    await peer.devices?.detach();
  },
  measure: (peer, amounts) => measure(peer, amounts.devices),
};

/** Resident memory before the first round, for all rounds: see {@link WARM_UP_COUNT}. */
const bases = new WeakMap<RunningPeer, number>();

async function measure(peer: RunningPeer, count: number): Promise<Measurement> {
  const { devices: attachable, processes } = peer;
  const pid = processes[0]?.pid ?? 0;
  await sleep(QUIET_MS);
  const base = bases.get(peer) ?? treeUsage(pid).residentBytes;
  bases.set(peer, base);
  const from = performance.now();
  await attachable?.attach(count);
  const seconds = (performance.now() - from) / 1000;
  await sleep(QUIET_MS / 2);
  const before = treeUsage(pid);
  await sleep(QUIET_MS);
  const held = treeUsage(pid);
  await attachable?.detach();
  for (let cycle = 0; cycle < CYCLES; cycle++) {
    await attachable?.attach(Math.min(CYCLE_COUNT, count));
    await attachable?.detach();
  }
  await sleep(QUIET_MS);
  const cpuMs = (held.cpuSeconds - before.cpuSeconds) * 1000;
  return {
    values: {
      'memory each': (held.residentBytes - base) / count / KB,
      'CPU of a thousand': (cpuMs / (QUIET_MS / 1000) / count) * 1_000,
      attached: count / seconds,
      [`after ${CYCLES} cycles, above base`]: (treeUsage(pid).residentBytes - base) / KB / KB,
    },
    work: count,
  };
}
