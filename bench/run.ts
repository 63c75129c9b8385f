import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, tmpdir, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { type BenchArguments, benchArguments, USAGE, UsageError } from './arguments.ts';
import { measureIsolated } from './isolated.ts';
import { type MeasureOptions, measureScenario, notMeasured } from './measure.ts';
import type { Peer } from './peers/peer.ts';
import { type BenchResult, type Machine, RESULT_VERSION, type ScenarioResult } from './result/result.ts';
import { renderSvg } from './result/svg.ts';
import { isComplete, renderTable } from './result/table.ts';
import type { Scenario } from './scenarios/scenario.ts';

const RESULTS = join(import.meta.dirname, 'results');

const MINUTE_MS = 60_000;

/** Every round and its figures as they come; the result alone goes to standard output. */
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
    return report(await bench(chosen, interrupted.signal), chosen.output);
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
    for (const [index, scenario] of chosen.scenarios.entries()) {
      // What a scenario leaves of its share is the others'.
      const share = (until - performance.now()) / (chosen.scenarios.length - index);
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

/** What makes a whole scenario impossible is told in its place, and the next has its turn. */
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

/** Writes the result to its file and to standard output; returns the exit code. */
function report(result: BenchResult, output: BenchArguments['output']): number {
  const file = join(RESULTS, `${result.startedAt.replaceAll(':', '-')}.json`);
  const json = `${JSON.stringify(result, undefined, 2)}\n`;
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(file, json);
  for (const scenario of result.scenarios) {
    writeFileSync(file.replace(/json$/, `${scenario.name}.svg`), renderSvg(scenario));
  }
  process.stdout.write(output === 'json' ? json : renderTable(result));
  progress(`written to ${file}`);
  for (const { peer, reason } of result.missing) progress(`bench: ${peer} was not measured: ${reason}`);
  return isComplete(result) ? 0 : 1;
}

function thisMachine(): Machine {
  return {
    platform: `${type()} ${release().split('.').slice(0, 2).join('.')}`,
    processor: cpus()[0]?.model.trim() ?? 'unknown processor',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    load: loadavg()[0] ?? 0,
    node: process.versions.node,
  };
}
