import { setTimeout as sleep } from 'node:timers/promises';
import type { RunningPeer } from '../peers/peer.ts';
import { treeUsage } from '../processes/usage.ts';
import { Connection } from '../traffic/connection.ts';
import type { Measurement, Scenario } from './scenario.ts';

/** Idle connections: many, since the memory of a process is known to some hundred KB only. */
const COUNT = 800;
const AT_ONCE = 8;
/** Bytes that each connection carries, to ensure that it is open end to end. */
const BYTES = 16;
const WARM_UP_COUNT = 50;
/** Milliseconds of quiet before memory is measured. */
const QUIET_MS = 3_000;
const KB = 1_000;
/** The processes of a peer, in the order in which it names them. */
const PLACES = ['in the middle', "at the device's end", "at the service's end"] as const;

/** Measures the memory of a connection that is open and idle, in each process of a peer. */
export const idle: Scenario = {
  name: 'idle',
  title: () =>
    `${COUNT} connections open at once, each quiet for ${QUIET_MS / 1000} s after ${BYTES} bytes: memory of each; programs on Node have collected their garbage before and after`,
  family: 'tunnel',
  baseline: 'culvert-raw',
  metrics: () => [...PLACES, 'in all'].map((name) => ({ name, unit: 'KB', better: 'lower' as const })),
  workUnit: 'connection',
  applies: (peer) => peer.processes.length > 0,
  warmUp: async (peer) => {
    await closeAll(await openMany(peer, WARM_UP_COUNT));
  },
  measure,
};

/** Memory of each process before the first round, used for all rounds: what earlier rounds left behind is part of the cost. */
const bases = new WeakMap<RunningPeer, readonly number[]>();

async function measure(peer: RunningPeer): Promise<Measurement> {
  const base = bases.get(peer) ?? (await settled(peer));
  bases.set(peer, base);
  const open = await openMany(peer, COUNT);
  const held = await settled(peer);
  await closeAll(open);
  const each = held.map((bytes, index) => (bytes - (base[index] ?? 0)) / COUNT / KB);
  const values: Record<string, number> = { 'in all': each.reduce((sum, value) => sum + value, 0) };
  for (const [index, place] of PLACES.entries()) {
    const value = each[index];
    if (value !== undefined) values[place] = value;
  }
  return { values, work: COUNT };
}

/** Returns the resident memory of each process after a quiet period. */
async function settled(peer: RunningPeer): Promise<readonly number[]> {
  await sleep(QUIET_MS);
  await peer.collectGarbage?.();
  return peer.processes.map(({ pid }) => treeUsage(pid).residentBytes);
}

async function openMany({ entry }: RunningPeer, count: number): Promise<readonly Connection[]> {
  const open: Connection[] = [];
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const connection = new Connection(entry);
      open.push(connection);
      await connection.pingPong(BYTES, 1);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return open;
}

async function closeAll(open: readonly Connection[]): Promise<void> {
  await Promise.all(open.map((connection) => connection.close()));
}
