import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MeasureOptions } from './measure.ts';
import type { Peer } from './peers/peer.ts';
import { findProgram } from './processes/programs.ts';
import type { ScenarioResult } from './result/result.ts';
import type { Scenario } from './scenarios/scenario.ts';

/** The request to the process in the namespace: names, and the options that can be serialised. */
export interface IsolatedRequest {
  readonly scenario: string;
  readonly peers: readonly string[];
  readonly options: Omit<MeasureOptions, 'onProgress' | 'signal'>;
  /** The path of the file for the result. */
  readonly answer: string;
}

/**
 * Measures a scenario in a separate process and network namespace, which contain the driver, the target and every program of the peers and end with them.
 * @throws Error when the process fails, and the signal's reason when it aborts
 */
export async function measureIsolated(
  scenario: Scenario,
  peers: readonly Peer[],
  { onProgress: _onProgress, signal, ...options }: MeasureOptions,
): Promise<ScenarioResult> {
  const question = join(options.workspace, `${scenario.name}-question.json`);
  const answer = join(options.workspace, `${scenario.name}-answer.json`);
  const request: IsolatedRequest = {
    scenario: scenario.name,
    peers: peers.map(({ name }) => name),
    options,
    answer,
  };
  writeFileSync(question, JSON.stringify(request));
  // Without root, a user namespace gives the process the same rights inside it.
  const namespaces = process.getuid?.() === 0 ? ['--net'] : ['--map-root-user', '--net'];
  const main = [process.execPath, '--conditions=development', join(import.meta.dirname, 'isolated-main.ts'), question];
  const child = spawn(findProgram('unshare') ?? 'unshare', [...namespaces, ...main], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const end = (): void => void child.kill('SIGTERM');
  signal.addEventListener('abort', end);
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    signal.throwIfAborted();
    if (code !== 0 || !existsSync(answer))
      throw new Error(`the process in its own network namespace ended with ${code}`);
    return JSON.parse(readFileSync(answer, 'utf8')) as ScenarioResult;
  } finally {
    signal.removeEventListener('abort', end);
  }
}
