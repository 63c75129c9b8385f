import { expect, it } from 'vitest';
import { batches } from './device-pool.ts';

it('takes devices in pieces, none of which lies in two processes', () => {
  expect(batches(0, 1_200)).toEqual([
    [0, 500],
    [500, 1_000],
    [1_000, 1_200],
  ]);
  expect(batches(2_400, 2_600)).toEqual([
    [2_400, 2_500],
    [2_500, 2_600],
  ]);
  expect(batches(7, 7)).toEqual([]);
});
