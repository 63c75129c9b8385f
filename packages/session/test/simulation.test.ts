import { expect, it } from 'vitest';
import { simulate } from './simulation.ts';

// `npm run session:simulate` makes more runs.

it.each([0, 1, 2, 3])('500 random runs from seed %i × 500 lose nothing, hang nowhere and leave nothing', (part) => {
  const features = new Map<string, number>();
  for (let seed = 500 * part + 1; seed <= 500 * (part + 1); seed++) {
    const outcome = simulate(seed);
    expect(outcome.fault, `seed ${seed}`).toBeUndefined();
    for (const feature of outcome.features) features.set(feature, (features.get(feature) ?? 0) + 1);
  }
  // Each kind of trouble is among them.
  expect(features.size).toBe(11);
});
