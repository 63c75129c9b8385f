import { setTimeout as sleep } from 'node:timers/promises';
import type { RunningPeer } from '../peers/peer.ts';
import { treeUsage } from '../processes/usage.ts';
import { Connection } from '../traffic/connection.ts';
import type { Measurement, Scenario } from './scenario.ts';

const COUNT = 100;
/** Connections that are opened at the same time. */
const AT_ONCE = 8;
/** Bytes that each connection carries before it is idle: enough to allocate every buffer on the path. */
const CARRIED_BYTES = 262_144;
/** Bytes that a new connection carries, to ensure that it is open end to end. */
const NEW_BYTES = 16;
const CYCLES = 20;
/** Connections of one cycle of the test whether memory is released. */
const CYCLE_COUNT = 16;
/** Milliseconds of quiet before memory is measured. */
const QUIET_MS = 3_000;
const KB = 1_000;

export const streams: Scenario = {
  name: 'streams',
  title: () =>
    `${COUNT} connections open at once, each quiet for ${QUIET_MS / 1000} s, new (after ${NEW_BYTES} bytes) and then after ${CARRIED_BYTES / 1024} KiB; then ${CYCLES} times ${CYCLE_COUNT} opened and closed`,
  family: 'tunnel',
  metrics: () => [
    { name: 'each new, in the middle', unit: 'KB', better: 'lower' },
    { name: 'each, in the middle', unit: 'KB', better: 'lower' },
    { name: 'each, all processes', unit: 'KB', better: 'lower' },
    { name: `middle after ${CYCLES} cycles, above base`, unit: 'MB', better: 'lower' },
  ],
  workUnit: 'connection',
  applies: (peer) => peer.processes.length > 0,
  warmUp: async (peer) => {
    await closeAll(await openMany(peer, AT_ONCE, CARRIED_BYTES));
  },
  measure,
};

/** Resident memory of each process before the first round, used for all rounds: memory that earlier rounds left behind is part of the cost. */
const bases = new WeakMap<RunningPeer, readonly number[]>();

async function measure(peer: RunningPeer): Promise<Measurement> {
  const middle = peer.processes[0]?.pid ?? 0;
  const residents = (): number[] => peer.processes.map(({ pid }) => treeUsage(pid).residentBytes);
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  await sleep(QUIET_MS);
  const base = bases.get(peer) ?? residents();
  bases.set(peer, base);
  const open = await openMany(peer, COUNT, NEW_BYTES);
  await sleep(QUIET_MS);
  const fresh = residents();
  await inTurn(open, (connection) => connection.download(CARRIED_BYTES));
  await sleep(QUIET_MS);
  const held = residents();
  await closeAll(open);
  for (let cycle = 0; cycle < CYCLES; cycle++) await closeAll(await openMany(peer, CYCLE_COUNT, CARRIED_BYTES));
  await sleep(QUIET_MS);
  const after = treeUsage(middle).residentBytes;
  return {
    values: {
      'each new, in the middle': ((fresh[0] ?? 0) - (base[0] ?? 0)) / COUNT / KB,
      'each, in the middle': ((held[0] ?? 0) - (base[0] ?? 0)) / COUNT / KB,
      'each, all processes': (sum(held) - sum(base)) / COUNT / KB,
      [`middle after ${CYCLES} cycles, above base`]: (after - (base[0] ?? 0)) / KB / KB,
    },
    work: COUNT + CYCLES * CYCLE_COUNT,
  };
}

async function openMany({ entry }: RunningPeer, count: number, bytes: number): Promise<Connection[]> {
  const open = Array.from({ length: count }, () => () => new Connection(entry));
  return inTurn(open, async (make) => {
    const connection = make();
    await connection.download(bytes);
    return connection;
  });
}

/** Calls `act` for each item, {@link AT_ONCE} at a time. */
async function inTurn<T, R>(all: readonly T[], act: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const left = all.values();
  const worker = async (): Promise<void> => {
    for (const one of left) results.push(await act(one));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return results;
}

async function closeAll(open: readonly Connection[]): Promise<void> {
  await Promise.all(open.map((connection) => connection.close()));
}
