import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { type BenchArguments, benchArguments, USAGE, UsageError } from './arguments.ts';
import { shareOf } from './budget.ts';
import { measureIsolated } from './isolated.ts';
import { thisMachine } from './machine.ts';
import { type MeasureOptions, measureScenario, notMeasured } from './measure.ts';
import type { Peer } from './peers/peer.ts';
import { type BenchResult, RESULT_VERSION, type ScenarioResult } from './result/result.ts';
import { renderSvg } from './result/svg.ts';
import { isComplete, renderTable } from './result/table.ts';
import type { Scenario } from './scenarios/scenario.ts';

const RESULTS = join(import.meta.dirname, 'results');

const MINUTE_MS = 60_000;

/** Writes progress (every round and its figures) to standard error; only the result goes to standard output. */
const progress = (message: string): void => {
  process.stderr.write(`${message}\n`);
};

process.exitCode = await main(process.argv.slice(2));

/** Exit codes: 0 all measured, 1 something failed or is missing, 2 the command line is wrong, 130 interrupted. */
async function main(args: readonly string[]): Promise<number> {
  const chosen = readArguments(args);
  if (typeof chosen === 'number') return chosen;
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
  try {
    const result = chosen.from === undefined ? await bench(chosen, interrupted.signal) : readResult(chosen.from);
    return report(result, chosen);
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    progress('bench: interrupted');
    return 130;
  }
}

function readArguments(args: readonly string[]): BenchArguments | number {
  try {
    const chosen = benchArguments(args);
    if (chosen !== undefined) return chosen;
    process.stdout.write(USAGE);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`bench: ${error.message}\n\n${USAGE}`);
    return 2;
  }
}

async function bench(chosen: BenchArguments, signal: AbortSignal): Promise<BenchResult> {
  const { rounds, bytes, devices, baseline } = chosen;
  const startedAt = new Date().toISOString();
  const machine = thisMachine();
  const missing = chosen.peers.flatMap((peer) => {
    const reason = peer.missing();
    return reason === undefined ? [] : [{ peer: peer.name, reason }];
  });
  const present = chosen.peers.filter((peer) => !missing.some((gone) => gone.peer === peer.name));
  const workspace = mkdtempSync(join(tmpdir(), 'culvert-bench-'));
  const scenarios: ScenarioResult[] = [];
  try {
    const until = performance.now() + chosen.minutes * MINUTE_MS;
    const options = { rounds, bytes, devices, baseline, workspace, onProgress: progress, signal };
    const weights = chosen.scenarios.map(({ weight }) => weight ?? 1);
    for (const [index, scenario] of chosen.scenarios.entries()) {
      // Time that a scenario does not use is available to the following ones.
      const share = shareOf(until - performance.now(), weights, index);
      scenarios.push(await measureOrSay(scenario, present, { ...options, withinMs: share }));
    }
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
  return {
    version: RESULT_VERSION,
    startedAt,
    machine,
    options: { rounds, bytes, devices, baseline },
    scenarios,
    missing,
  };
}

/** Measures a scenario; when it cannot run, its result states that and the next scenario runs. */
async function measureOrSay(
  scenario: Scenario,
  peers: readonly Peer[],
  options: MeasureOptions,
): Promise<ScenarioResult> {
  const missing = scenario.missing?.();
  if (missing !== undefined) return notMeasured(scenario, options, missing);
  try {
    return await (scenario.isolated ? measureIsolated : measureScenario)(scenario, peers, options);
  } catch (error) {
    options.signal.throwIfAborted();
    const reason = error instanceof Error ? error.message : String(error);
    progress(`${scenario.name}: not measured: ${reason}`);
    return notMeasured(scenario, options, reason);
  }
}

/** Reads a result. @throws Error when the file has a different version of the result format */
function readResult(file: string): BenchResult {
  const result = JSON.parse(readFileSync(file, 'utf8')) as BenchResult;
  if (result.version !== RESULT_VERSION)
    throw new Error(`${file} is of version ${result.version}, not ${RESULT_VERSION}`);
  return result;
}

/** Writes the drawings, and the result if it is new; prints the result to standard output; returns the exit code. */
function report(result: BenchResult, { output, drawings, from }: BenchArguments): number {
  const name = result.startedAt.replaceAll(':', '-');
  const json = `${JSON.stringify(result, undefined, 2)}\n`;
  const directory = drawings ?? RESULTS;
  mkdirSync(directory, { recursive: true });
  if (from === undefined) {
    mkdirSync(RESULTS, { recursive: true });
    writeFileSync(join(RESULTS, `${name}.json`), json);
    progress(`written to ${join(RESULTS, `${name}.json`)}`);
  }
  for (const scenario of result.scenarios) {
    const prefix = drawings === undefined ? `${name}.` : '';
    writeFileSync(join(directory, `${prefix}${scenario.name}.svg`), renderSvg(scenario));
  }
  if (output === 'json') process.stdout.write(json);
  if (output === 'table') process.stdout.write(renderTable(result));
  if (output === 'markdown') {
    process.stdout.write(renderTable(result, { level: 3, drawings: basename(drawings ?? '.') }));
  }
  for (const { peer, reason } of result.missing) progress(`bench: ${peer} was not measured: ${reason}`);
  return isComplete(result) ? 0 : 1;
}
