import { setImmediate as nextIteration } from 'node:timers/promises';
import { beforeEach, expect, test } from 'vitest';
import { ITERATION_BYTES, QUOTA_BYTES, ReadScheduler, type ScheduledReader } from './read-scheduler.ts';

const QUOTAS = ITERATION_BYTES / QUOTA_BYTES;

/** A connection that always has bytes to be read. */
class Flood implements ScheduledReader {
  iteration = 0;
  readBytes = 0;
  waits = false;
  reads = 0;
  runs = true;
  stop(): void {
    this.runs = false;
  }
  start(): void {
    this.runs = true;
  }
}

let scheduler: ReadScheduler;
beforeEach(() => {
  scheduler = new ReadScheduler();
});

/** An iteration: reads each in pieces of 16 KiB until it is stopped, at most 32 times, as libuv does; returns the bytes. */
function readAll(floods: readonly Flood[], piece = 16_384): number {
  let bytes = 0;
  for (const flood of floods) {
    for (let i = 0; i < 32 && flood.runs; i++) {
      flood.reads++;
      bytes += piece;
      scheduler.note(flood, piece);
    }
  }
  return bytes;
}

const someFloods = (count: number): Flood[] => Array.from({ length: count }, () => new Flood());

test('many that flood bring no more than the bytes of an iteration, in about equal quotas', async () => {
  const floods = someFloods(9);
  readAll(floods);
  for (let i = 0; i < 90; i++) {
    await nextIteration();
    expect(readAll(floods)).toBe(ITERATION_BYTES);
  }
  const reads = floods.map((flood) => flood.reads);
  // Not exactly: of those that read in the same iteration, one is the first to be queued again.
  expect(Math.max(...reads) / Math.min(...reads)).toBeLessThan(1.5);
});

test('one alone waits for nobody, and has all the bytes of each iteration', async () => {
  const floods = someFloods(1);
  for (let i = 0; i < 10; i++) {
    expect(readAll(floods)).toBe(ITERATION_BYTES);
    await nextIteration();
  }
});

test('what reads little in an iteration never waits, however much in all and whoever floods beside it', async () => {
  const floods = someFloods(8);
  const quiet = new Flood();
  for (let i = 0; i < 100; i++) {
    readAll(floods);
    scheduler.note(quiet, 20_000);
    expect(quiet.runs).toBe(true);
    await nextIteration();
  }
});

test('those that their owners paused come back as many at a time as there are shares', async () => {
  const paused = someFloods(5);
  for (const flood of paused) flood.runs = false;
  for (const flood of paused) scheduler.ask(flood);
  const running = (): number => paused.filter(({ runs }) => runs).length;
  expect([running(), scheduler.waiting]).toEqual([QUOTAS, 5 - QUOTAS]);
  await nextIteration();
  expect(running()).toBe(2 * QUOTAS);
  await nextIteration();
  await nextIteration();
  expect([running(), scheduler.waiting]).toEqual([5, 0]);
});

test('who waits asks in vain, and stands in line once', async () => {
  const floods = someFloods(3);
  readAll(floods);
  expect(scheduler.waiting).toBe(3);
  for (const flood of floods) scheduler.ask(flood);
  expect([scheduler.waiting, floods.some(({ runs }) => runs)]).toEqual([3, false]);
  await nextIteration();
  await nextIteration();
  expect([scheduler.waiting, floods.every(({ runs }) => runs)]).toEqual([0, true]);
});
