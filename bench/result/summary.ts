import type { Measurement, Metric } from '../scenarios/scenario.ts';
import { pairedRatio, spread } from '../statistics.ts';
import type { MetricResult } from './result.ts';

/** The measurements of one peer by round; `null` for a round that failed. */
export type Rounds = readonly (Measurement | null)[];

/**
 * Returns the figures of one peer: the measured metrics, and the metrics derived as the difference from the plain connection of the same round.
 * @param plain the plain connection's rounds, when it was measured
 * @param baseline the rounds that ratios are computed against; absent for the baseline itself, or when it was not measured
 */
export function summarise(
  metrics: readonly Metric[],
  rounds: Rounds,
  plain: Rounds | undefined,
  baseline: Rounds | undefined,
): Record<string, MetricResult> {
  const results: Record<string, MetricResult> = {};
  for (const metric of metrics) {
    const values = valuesOf(metric, rounds, plain);
    const found = spread(values.filter((value) => value !== null));
    if (found === undefined) continue;
    const ratio = baseline === undefined ? undefined : pairedRatio(values, valuesOf(metric, baseline, plain));
    results[metric.name] = { ...found, ...(ratio === undefined ? {} : { ratio }), values };
  }
  return results;
}

function valuesOf(metric: Metric, rounds: Rounds, plain: Rounds | undefined): (number | null)[] {
  const source = metric.addedTo;
  if (source === undefined) return rounds.map((round) => round?.values[metric.name] ?? null);
  if (plain === rounds) return rounds.map(() => null);
  return rounds.map((round, index) => {
    const own = round?.values[source];
    const floor = plain?.[index]?.values[source];
    return own === undefined || floor === undefined ? null : own - floor;
  });
}
