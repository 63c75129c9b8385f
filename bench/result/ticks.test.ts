import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ticks } from './ticks.ts';

it('marks an axis at figures that are easy to read', () => {
  expect(ticks(100)).toEqual([0, 25, 50, 75, 100]);
  expect(ticks(2055)).toEqual([0, 1000, 2000, 3000]);
  expect(ticks(0.34)).toEqual([0, 0.1, 0.2, 0.3, 0.4]);
  expect(ticks(0)).toEqual([0, 1]);
});

it('reaches the largest value with few marks', () => {
  fc.assert(
    fc.property(fc.double({ min: 1e-6, max: 1e9, noNaN: true }), (most) => {
      const marks = ticks(most);
      expect(marks[0]).toBe(0);
      expect(marks.at(-1)).toBeGreaterThanOrEqual(most * (1 - 1e-6));
      expect(marks.length).toBeLessThanOrEqual(5);
      expect(marks.length).toBeGreaterThanOrEqual(2);
    }),
  );
});
