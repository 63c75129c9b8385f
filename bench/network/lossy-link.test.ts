import { expect, it } from 'vitest';
import { ofOneLeg } from './lossy-link.ts';

it('divides delay and loss among the legs, so that together they are what the path is', () => {
  expect(ofOneLeg({ roundTripMs: 100, lossPercent: 1 }, 1)).toEqual({ delayMs: 50, lossPercent: expect.closeTo(1, 9) });
  const { delayMs, lossPercent } = ofOneLeg({ roundTripMs: 100, lossPercent: 1 }, 2);
  expect(delayMs).toBe(25);
  expect((1 - lossPercent / 100) ** 2).toBeCloseTo(0.99, 9);
});
