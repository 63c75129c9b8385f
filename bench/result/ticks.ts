/** Possible distances between two marks of an axis, times a power of ten. */
const STEPS = [1, 2, 2.5, 5, 10] as const;
/** Maximum number of steps on one axis: more would leave no space for their figures. */
const MOST_STEPS = 4;

/** Returns the marks of an axis from 0 to `most` or slightly beyond, at figures that are easy to read. */
export function ticks(most: number): number[] {
  if (!(most > 0)) return [0, 1];
  const power = 10 ** Math.floor(Math.log10(most / MOST_STEPS));
  const step = (STEPS.find((candidate) => candidate * power * MOST_STEPS >= most * (1 - 1e-9)) ?? 10) * power;
  const count = Math.ceil(most / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}
