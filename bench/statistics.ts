/** The median of several values, and their smallest and largest. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/**
 * The value in the middle; of an even number of values, the mean of the two in the middle.
 * @throws RangeError without values
 */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  if (upper === undefined || lower === undefined) throw new RangeError('no values to take the median of');
  return (lower + upper) / 2;
}

/**
 * Returns the smallest value that is greater than or equal to at least `percent` percent of the values (nearest rank).
 * @param percent above 0, at most 100
 * @throws RangeError without values, or outside those bounds
 */
export function percentile(values: ArrayLike<number>, percent: number): number {
  if (!(percent > 0 && percent <= 100)) throw new RangeError(`a percentile of ${percent} does not exist`);
  const sorted = Float64Array.from(values).sort();
  const value = sorted[Math.ceil((percent / 100) * sorted.length) - 1];
  if (value === undefined) throw new RangeError('no values to take a percentile of');
  return value;
}

/** Returns median, smallest and largest value; `undefined` without values. */
export function spread(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/**
 * Returns the median of the round-by-round ratios: a temporary slowdown of a shared machine slows both values of a round, and cancels out.
 * Rounds in which either value is missing are ignored; `undefined` when none is left.
 */
export function pairedRatio(
  values: readonly (number | null)[],
  baseline: readonly (number | null)[],
): number | undefined {
  const ratios = values.flatMap((value, round) => {
    const base = baseline[round];
    return value === null || base === null || base === undefined || base === 0 ? [] : [value / base];
  });
  return ratios.length === 0 ? undefined : median(ratios);
}
