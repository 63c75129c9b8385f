import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Backoff } from './backoff.ts';

describe('Backoff', () => {
  it('doubles its ceiling up to the maximum, and starts again after a success', () => {
    const backoff = new Backoff({ minMs: 500, maxMs: 3_000, random: () => 0.999_999 });
    expect([1, 2, 3, 4, 5].map(() => backoff.next())).toEqual([500, 1_000, 2_000, 3_000, 3_000]);
    backoff.reset();
    expect(backoff.next()).toBe(500);
  });

  it('spreads over the whole range, down to no wait', () => {
    const numbers = [0, 0.5];
    const backoff = new Backoff({ random: () => numbers.shift() ?? 0 });
    expect([backoff.next(), backoff.next()]).toEqual([0, 500]);
  });

  it('never leaves its bounds', () => {
    const options = fc.record({
      minMs: fc.integer({ min: 1, max: 1_000 }),
      maxMs: fc.integer({ min: 1_000, max: 60_000 }),
    });
    fc.assert(
      fc.property(options, fc.integer({ min: 1, max: 100 }), (bounds, calls) => {
        const backoff = new Backoff(bounds);
        for (let call = 0; call < calls; call++) {
          const wait = backoff.next();
          expect(wait).toBeGreaterThanOrEqual(0);
          expect(wait).toBeLessThanOrEqual(bounds.maxMs);
        }
      }),
    );
  });
});
