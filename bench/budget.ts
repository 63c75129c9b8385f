/**
 * Returns the milliseconds of the remaining time that the scenario at `index` may use. The later scenarios get their shares by weight,
 * and also the time that this one does not use.
 * @param weights of all scenarios, in their order
 */
export function shareOf(leftMs: number, weights: readonly number[], index: number): number {
  const toCome = weights.slice(index).reduce((sum, weight) => sum + weight, 0);
  return toCome === 0 ? 0 : (leftMs * (weights[index] ?? 0)) / toCome;
}
