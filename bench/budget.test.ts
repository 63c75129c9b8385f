import { expect, it } from 'vitest';
import { shareOf } from './budget.ts';

it('gives each scenario its part of what is left, and the last one all', () => {
  const weights = [1, 3, 2];
  expect(shareOf(600, weights, 0)).toBe(100);
  expect(shareOf(500, weights, 1)).toBe(300);
  expect(shareOf(500, weights, 2)).toBe(500);
  expect(shareOf(500, weights, 3)).toBe(0);
});

it('has nothing left once the time is over', () => {
  expect(shareOf(-5, [1, 1], 0)).toBeLessThan(0);
});
