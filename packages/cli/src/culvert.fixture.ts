import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';

const MAIN = fileURLToPath(new URL('./main.fixture.ts', import.meta.url));

/** Where the programs of a test file keep their keys and those of others. */
const STATE = mkdtempSync(join(tmpdir(), 'culvert-state-'));

/** The programs that have not ended yet. */
const running = new Set<Running>();

// Kill the programs that a test left running: a test may fail, or time out, before its program has ended.
afterAll(async () => {
  for (const { child, ended } of [...running]) {
    child.kill('SIGKILL');
    await ended;
  }
  rmSync(STATE, { recursive: true, force: true });
});

/** How a run of `culvert` ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running `culvert`, started from the sources, with its own environment. */
export interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  readonly ended: Promise<Ended>;
  /** Resolves with the first line of stdout or stderr that matches; rejects when the program ends first. */
  line(pattern: RegExp): Promise<string>;
}

/** @param launcher a program and its arguments, which starts `culvert` as its child */
export function startCulvert(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  launcher: readonly string[] = [],
): Running {
  const [program = process.execPath, ...rest] = [
    ...launcher,
    process.execPath,
    '--conditions=development',
    MAIN,
    ...args,
  ];
  // TEST_WORKER identifies processes that a test leaves behind (tools/watched-forks.ts).
  const { PATH, TEST_WORKER } = process.env;
  const child = spawn(program, rest, {
    env: { PATH, TEST_WORKER, HOME: '/nonexistent', XDG_STATE_HOME: STATE, ...env },
  });
  let stdout = '';
  let stderr = '';
  const wakers = new Set<() => void>();
  const wake = (): void => {
    for (const one of [...wakers]) one();
  };
  child.stdout.on('data', (data: Buffer) => {
    stdout += data.toString();
    wake();
  });
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString();
    wake();
  });
  child.stdin.on('error', () => undefined);
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code) => {
      resolve({ code, stdout, stderr });
      wake();
    });
  });
  const line = (pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const found = `${stdout}\n${stderr}`.split('\n').find((candidate) => pattern.test(candidate));
        if (found !== undefined) resolve(found);
        else if (child.exitCode !== null) reject(new Error(`ended without ${pattern}: ${stdout}${stderr}`));
        else return;
        wakers.delete(look);
      };
      wakers.add(look);
      look();
    });
  const started: Running = { child, ended, line };
  running.add(started);
  void ended.then(() => running.delete(started));
  return started;
}

/** Runs `culvert` to its end. */
export function culvert(args: readonly string[], env: NodeJS.ProcessEnv = {}, input = ''): Promise<Ended> {
  const { child, ended } = startCulvert(args, env);
  child.stdin.end(input);
  return ended;
}
