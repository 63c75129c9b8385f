import { parseArgs } from 'node:util';

/** The options of a fuzzer: `--seed N` (default: the current time; the fuzzer prints it) and `--runs N`. */
export interface FuzzArguments {
  readonly seed: number;
  readonly runs: number;
}

/** Reads `--seed` and `--runs` from the command line. */
export function fuzzArguments(defaultRuns: number): FuzzArguments {
  const { values } = parseArgs({ options: { seed: { type: 'string' }, runs: { type: 'string' } } });
  const seed = values.seed === undefined ? Date.now() : Number(values.seed);
  const runs = values.runs === undefined ? defaultRuns : Number(values.runs);
  if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(runs) || runs < 1) {
    throw new Error('--seed and --runs must be integers, --runs at least 1.');
  }
  return { seed, runs };
}
