import { expect, it } from 'vitest';
import { Allowance, KeyedEntries } from './allowance.ts';

it('gives the whole burst at once, then one an interval, and all of them again after a rest', () => {
  const allowance = new Allowance(3, 10);
  const takes = (now: number, tries = 9): number => [...Array(tries)].filter(() => allowance.take(now)).length;
  expect([takes(0), allowance.waitMs(0), allowance.waitMs(4), takes(9), takes(10), takes(35)]).toEqual([
    3, 10, 6, 0, 1, 2,
  ]);
  expect([allowance.isFull(35), allowance.isFull(1_000), takes(1_000)]).toEqual([false, true, 3]);
});

it('shuts nobody out when the clock is set back', () => {
  const allowance = new Allowance(2, 10);
  expect([allowance.take(1e12), allowance.take(1e12), allowance.take(0), allowance.take(10)]).toEqual([
    true,
    true,
    false,
    true,
  ]);
});

it('keeps no more entries than are needed, and twice that at most', () => {
  const entries = new KeyedEntries(
    () => new Allowance(1, 10),
    (allowance, now) => !allowance.isFull(now),
  );
  for (let n = 0; n < 50_000; n++) entries.of(`${n}`, n).take(n);
  expect(entries.size).toBeLessThanOrEqual(1_000);
});
