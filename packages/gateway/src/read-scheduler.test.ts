import { setImmediate as turn } from 'node:timers/promises';
import { beforeEach, expect, test } from 'vitest';
import { ReadScheduler, SHARE_BYTES, TURN_BYTES, type TurnReader } from './read-scheduler.ts';

const SHARES = TURN_BYTES / SHARE_BYTES;

/** A connection that always has bytes to be read. */
class Flood implements TurnReader {
  turn = 0;
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

let turns: ReadScheduler;
beforeEach(() => {
  turns = new ReadScheduler();
});

/** A turn: reads each in pieces of 16 KiB until it is stopped, at most 32 times, as libuv does; returns the bytes. */
function readAll(floods: readonly Flood[], piece = 16_384): number {
  let bytes = 0;
  for (const flood of floods) {
    for (let i = 0; i < 32 && flood.runs; i++) {
      flood.reads++;
      bytes += piece;
      turns.note(flood, piece);
    }
  }
  return bytes;
}

const someFloods = (count: number): Flood[] => Array.from({ length: count }, () => new Flood());

test('many that flood bring no more than the bytes of a turn, and have about the same of them', async () => {
  const floods = someFloods(9);
  readAll(floods);
  for (let i = 0; i < 90; i++) {
    await turn();
    expect(readAll(floods)).toBe(TURN_BYTES);
  }
  const reads = floods.map((flood) => flood.reads);
  // Not exactly: of those that read in the same turn, one is the first to stand in line again.
  expect(Math.max(...reads) / Math.min(...reads)).toBeLessThan(1.5);
});

test('one alone waits for nobody, and has all the bytes of each turn', async () => {
  const floods = someFloods(1);
  for (let i = 0; i < 10; i++) {
    expect(readAll(floods)).toBe(TURN_BYTES);
    await turn();
  }
});

test('what reads little in a turn never waits, however much in all and whoever floods beside it', async () => {
  const floods = someFloods(8);
  const quiet = new Flood();
  for (let i = 0; i < 100; i++) {
    readAll(floods);
    turns.note(quiet, 20_000);
    expect(quiet.runs).toBe(true);
    await turn();
  }
});

test('those that their owners paused come back as many at a time as there are shares', async () => {
  const paused = someFloods(5);
  for (const flood of paused) flood.runs = false;
  for (const flood of paused) turns.ask(flood);
  const running = (): number => paused.filter(({ runs }) => runs).length;
  expect([running(), turns.waiting]).toEqual([SHARES, 5 - SHARES]);
  await turn();
  expect(running()).toBe(2 * SHARES);
  await turn();
  await turn();
  expect([running(), turns.waiting]).toEqual([5, 0]);
});

test('who waits asks in vain, and stands in line once', async () => {
  const floods = someFloods(3);
  readAll(floods);
  expect(turns.waiting).toBe(3);
  for (const flood of floods) turns.ask(flood);
  expect([turns.waiting, floods.some(({ runs }) => runs)]).toEqual([3, false]);
  await turn();
  await turn();
  expect([turns.waiting, floods.every(({ runs }) => runs)]).toEqual([0, true]);
});
