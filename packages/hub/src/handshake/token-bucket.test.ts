import { describe, expect, it } from 'vitest';
import { TokenBucket, TokenBuckets } from './token-bucket.ts';

const taken = (bucket: TokenBucket, times: number, now: number) =>
  Array.from({ length: times }, () => bucket.take(now)).filter(Boolean).length;

describe('a token bucket', () => {
  it.each([1, 3, 7, 1_000, 2_000])(
    'of %i a second gives exactly that in a burst, and as much in each second after',
    (rate) => {
      const bucket = new TokenBucket(rate);
      expect(taken(bucket, rate + 5, 0)).toBe(rate);
      expect(bucket.used(0)).toBe(rate);
      let given = 0;
      for (let now = 1; now <= 10_000; now++) given += taken(bucket, 3, now);
      expect(given).toBe(Math.min(3 * 10_000, 10 * rate));
      expect(bucket.used(20_000)).toBe(0);
    },
  );

  it('that was not used for long gives no more than one second’s worth', () => {
    const bucket = new TokenBucket(5);
    expect(bucket.take(0)).toBe(true);
    expect(taken(bucket, 50, 3_600_000)).toBe(5);
  });
});

describe('buckets by key', () => {
  it('are apart, and forgotten when they are full again', () => {
    const buckets = new TokenBuckets(1);
    expect([buckets.take('a', 0), buckets.take('a', 0), buckets.take('b', 0)]).toEqual([true, false, true]);
    expect(buckets.mostUsed(0)).toBe(1);
    for (let second = 1; second <= 100; second++) {
      for (let key = 0; key < 1_000; key++) buckets.take(`${second}-${key}`, second * 1_000);
    }
    expect(buckets.size).toBeLessThanOrEqual(2_048);
  });
});
