import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { median, pairedRatio, percentile, spread } from './statistics.ts';

const values = fc.array(fc.double({ min: -1e9, max: 1e9, noNaN: true }), { minLength: 1, maxLength: 50 });

describe('median', () => {
  it('is the middle, or the mean of the two in the middle', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([9, 1, 5, 6])).toBe(5.5);
  });

  it('does not sort by text, and leaves its argument as it was', () => {
    const given = [10, 9, 2];
    expect(median(given)).toBe(9);
    expect(given).toEqual([10, 9, 2]);
  });

  it('has as many values below as above', () => {
    fc.assert(
      fc.property(values, (given) => {
        const middle = median(given);
        const below = given.filter((value) => value < middle).length;
        const above = given.filter((value) => value > middle).length;
        expect(Math.max(below, above)).toBeLessThanOrEqual(given.length / 2);
      }),
    );
  });

  it('of nothing is an error', () => {
    expect(() => median([])).toThrow(RangeError);
  });
});

describe('percentile', () => {
  it('is the nearest rank', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect(percentile(hundred, 50)).toBe(50);
    expect(percentile(hundred, 99)).toBe(99);
    expect(percentile(hundred, 100)).toBe(100);
    expect(percentile([7], 1)).toBe(7);
  });

  it('refuses what does not exist', () => {
    expect(() => percentile([1], 0)).toThrow(RangeError);
    expect(() => percentile([1], 101)).toThrow(RangeError);
    expect(() => percentile([], 50)).toThrow(RangeError);
  });
});

describe('spread', () => {
  it('holds the median between smallest and largest', () => {
    fc.assert(
      fc.property(values, (given) => {
        const found = spread(given);
        expect(found?.min).toBeLessThanOrEqual(found?.median ?? Number.NaN);
        expect(found?.max).toBeGreaterThanOrEqual(found?.median ?? Number.NaN);
      }),
    );
    expect(spread([])).toBeUndefined();
  });
});

describe('pairedRatio', () => {
  it('compares round with round', () => {
    // The second round ran on a machine half as fast: both values halved, and the ratio did not change.
    expect(pairedRatio([200, 100, 210], [100, 50, 105])).toBe(2);
  });

  it('leaves out rounds that either side lacks', () => {
    expect(pairedRatio([4, null, 9], [2, 1, null])).toBe(2);
    expect(pairedRatio([null], [1])).toBeUndefined();
    expect(pairedRatio([1], [0])).toBeUndefined();
  });
});
