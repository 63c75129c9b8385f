/**
 * What the scenario at `index` may take of the time that is left: the others after it get theirs by their weights, and what it leaves of it.
 * @param weights of all scenarios, in their order
 */
export function shareOf(leftMs: number, weights: readonly number[], index: number): number {
  const toCome = weights.slice(index).reduce((sum, weight) => sum + weight, 0);
  return toCome === 0 ? 0 : (leftMs * (weights[index] ?? 0)) / toCome;
}
