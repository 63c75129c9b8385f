import { parseArgs } from 'node:util';
import { type Outcome, simulate } from './simulation.ts';

// Random runs of a session in a virtual network: `npm run session:simulate -- [--runs N] [--seed N]`. Each run's seed is the first seed plus its number;
// a run that failed is repeated with `--seed SEED --runs 1`. Exits with 1 if one failed.

/** Milliseconds between two lines that tell how far it is. */
const PROGRESS_MS = 5_000;
/** Failed runs after which no more are made. */
const MAX_FAILURES = 10;

const { values } = parseArgs({ options: { seed: { type: 'string' }, runs: { type: 'string' } } });
const first = Number(values.seed ?? 1);
const runs = Number(values.runs ?? 1_000);
if (!Number.isSafeInteger(first) || !Number.isSafeInteger(runs) || runs < 1)
  throw new Error('--seed and --runs must be integers, --runs at least 1.');

const total = { runs: 0, links: 0, bytes: 0, failed: 0 };
const features = new Map<string, number>();
let toldAt = Date.now();
for (let seed = first; seed < first + runs && total.failed < MAX_FAILURES; seed++) {
  let outcome: Outcome;
  try {
    outcome = simulate(seed);
  } catch (error) {
    outcome = { fault: (error as Error).stack, links: 0, bytes: 0, features: [] };
  }
  total.runs++;
  total.links += outcome.links;
  total.bytes += outcome.bytes;
  for (const feature of outcome.features) features.set(feature, (features.get(feature) ?? 0) + 1);
  if (outcome.fault !== undefined) {
    total.failed++;
    console.log(`seed ${seed} (${outcome.features.join(' ')}): ${outcome.fault}`);
  }
  if (Date.now() - toldAt < PROGRESS_MS) continue;
  toldAt = Date.now();
  process.stderr.write(`${total.runs} of ${runs} runs, ${total.failed} failed\n`);
}
console.log({ ...total, features: Object.fromEntries(features) });
process.exitCode = total.failed === 0 ? 0 : 1;
