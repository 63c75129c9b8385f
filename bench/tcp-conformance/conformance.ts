import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../arguments.ts';
import { thisMachine } from '../machine.ts';
import { type ConformanceArguments, conformanceArguments, USAGE } from './arguments.ts';
import { allPass, CONFORMANCE_VERSION, type ConformanceResult, type TunnelResult } from './result.ts';
import { renderConformance, renderPage } from './table.ts';
import { judgeKnown, judgeRunning, type RunOptions } from './tunnels.ts';

/** Progress goes to standard error; only the result goes to standard output. */
const progress = (message: string): void => {
  process.stderr.write(`${message}\n`);
};

/** How a result is written. */
const FORMS: Record<ConformanceArguments['output'], (result: ConformanceResult) => string> = {
  table: renderConformance,
  page: renderPage,
  json: (result) => `${JSON.stringify(result, undefined, 2)}\n`,
};

process.exitCode = await main(process.argv.slice(2));

/** Exit codes: 0 every promise is kept, 1 one is not or a tunnel is missing, 2 the command line is wrong, 130 interrupted. */
async function main(args: readonly string[]): Promise<number> {
  const chosen = readArguments(args);
  if (typeof chosen === 'number') return chosen;
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
  try {
    const { from, output } = chosen;
    const result = from === undefined ? await conformance(chosen, interrupted.signal) : readResult(from);
    process.stdout.write(FORMS[output](result));
    return allPass(result) ? 0 : 1;
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    progress('conformance: interrupted');
    // Tunnels and connections are gone; what remains are waits of the case that was interrupted.
    process.exit(130);
  }
}

/** @throws Error when the file has another version of the result's form */
function readResult(file: string): ConformanceResult {
  const result = JSON.parse(readFileSync(file, 'utf8')) as ConformanceResult;
  if (result.version !== CONFORMANCE_VERSION)
    throw new Error(`${file} is of version ${result.version}, not ${CONFORMANCE_VERSION}`);
  return result;
}

function readArguments(args: readonly string[]): ConformanceArguments | number {
  try {
    const chosen = conformanceArguments(args);
    if (chosen !== undefined) return chosen;
    process.stdout.write(USAGE);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    progress(`conformance: ${error.message}\n\n${USAGE}`);
    return 2;
  }
}

async function conformance(chosen: ConformanceArguments, signal: AbortSignal): Promise<ConformanceResult> {
  const { cases, amounts, running } = chosen;
  const startedAt = new Date().toISOString();
  const machine = thisMachine();
  const options: RunOptions = { cases, amounts, onProgress: progress, signal };
  const { tunnels, missing } =
    running === undefined
      ? await known(chosen, options)
      : { tunnels: [await judgeRunning(running, options)], missing: [] };
  return {
    version: CONFORMANCE_VERSION,
    startedAt,
    machine,
    amounts,
    cases: cases.map(({ id, promise }) => ({ id, promise })),
    tunnels,
    missing,
  };
}

async function known(
  { peers }: ConformanceArguments,
  options: RunOptions,
): Promise<{ tunnels: readonly TunnelResult[]; missing: ConformanceResult['missing'] }> {
  const missing = peers.flatMap((peer) => {
    const reason = peer.missing();
    return reason === undefined ? [] : [{ tunnel: peer.name, reason }];
  });
  const present = peers.filter(({ name }) => !missing.some(({ tunnel }) => tunnel === name));
  const workspace = mkdtempSync(join(tmpdir(), 'culvert-conformance-'));
  try {
    return { tunnels: await judgeKnown(present, workspace, options), missing };
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
}
