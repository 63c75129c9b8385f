import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { channel } from 'node:diagnostics_channel';
import { relative, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ForksPoolWorker, type PoolOptions, type PoolRunnerInitializer, type WorkerRequest } from 'vitest/node';
import { killProcessesOf, processesOf, WORKER_VARIABLE } from './test-processes.ts';

const ROOT = resolve(import.meta.dirname, '..');

/** Milliseconds that processes may take to end after their test file; they need time on a machine under load. Vitest waits 10 s. */
const ENDING_MS = 5_000;

/** Milliseconds between two checks for running processes. */
const LOOK_MS = 50;

/**
 * A failure of a test file's worker. It is published on a diagnostics channel, because the reporter (`count-reporter.ts`) is loaded separately
 * from this file.
 */
export interface Trouble {
  /** A description in one line that contains the file's name. */
  readonly text: string;
  /** Whether Vitest counts it as a failure too. */
  readonly isCounted: boolean;
}

/** The name of the diagnostics channel. */
export const TROUBLE = 'culvert:test-trouble';

const troubles = channel(TROUBLE);

/** The id of this run: the prefix of {@link WORKER_VARIABLE} in all processes that its workers start. */
const run = `${process.pid}-${randomBytes(6).toString('hex')}-`;
let workers = 0;
let hasWarden = false;

/** Starts the process that kills all remaining processes of this run, even if this process is killed. */
function startWarden(): void {
  if (hasWarden) return;
  hasWarden = true;
  const entry = resolve(ROOT, 'tools/test-warden.ts');
  // A worker of another run may have started this run. Without the variable, that run does not kill this warden, which ends with its own run.
  const { [WORKER_VARIABLE]: _, ...env } = process.env;
  const warden = spawn(process.execPath, [entry, run], { detached: true, env, stdio: ['pipe', 'ignore', 'ignore'] });
  warden.on('error', () => undefined);
  warden.stdin.on('error', () => undefined);
  warden.unref();
  if ('unref' in warden.stdin && typeof warden.stdin.unref === 'function') warden.stdin.unref();
}

/**
 * A worker in its own process, as in Vitest's pool `forks`. Processes that a test file starts and does not end are killed and count as a failure.
 * A worker that is killed by a signal is reported with the signal and the file, even if it happens while Vitest stops the worker, when Vitest
 * does not check for it.
 */
class WatchedFork extends ForksPoolWorker {
  readonly #id: string;
  #files: readonly string[] = [];
  #isEnding = false;
  #hasDied = false;

  constructor(options: PoolOptions) {
    const id = `${run}${++workers}.`;
    super({ ...options, env: { ...options.env, [WORKER_VARIABLE]: id } });
    this.#id = id;
  }

  override send(message: WorkerRequest): void {
    const context: unknown = 'context' in message ? message.context : undefined;
    if (message.type === 'run' && hasFiles(context)) this.#files = context.files.map(({ filepath }) => filepath);
    super.send(message);
  }

  override async start(): Promise<void> {
    startWarden();
    await super.start();
    this.on('exit', (code: number | null, signal: NodeJS.Signals | null) => this.#onExit(code, signal));
  }

  override async stop(): Promise<void> {
    this.#isEnding = true;
    await super.stop();
    const deadline = Date.now() + ENDING_MS;
    while (!this.#hasDied && processesOf(this.#id).length > 0 && Date.now() < deadline) await delay(LOOK_MS);
    for (const { command } of killProcessesOf(this.#id)) {
      if (!this.#hasDied) this.#report(`left a process behind: ${command}`, false);
    }
  }

  #onExit(code: number | null, signal: NodeJS.Signals | null): void {
    // Vitest stops a worker with SIGTERM.
    if (this.#isEnding && (signal === null || signal === 'SIGTERM')) return;
    this.#hasDied = true;
    killProcessesOf(this.#id);
    this.#report(signal === null ? `ended with ${code} before it was done` : `died of ${signal}`, !this.#isEnding);
  }

  #report(what: string, isCounted: boolean): void {
    const files = this.#files.map((file) => relative(ROOT, file)).join(', ') || 'a worker without a file';
    troubles.publish({ text: `${files} ${what}`, isCounted } satisfies Trouble);
  }
}

function hasFiles(context: unknown): context is { files: { filepath: string }[] } {
  return typeof context === 'object' && context !== null && 'files' in context && Array.isArray(context.files);
}

/** The value for `pool` in Vitest's configuration. */
export const watchedForks: PoolRunnerInitializer = {
  name: 'watched-forks',
  createPoolWorker: (options) => new WatchedFork(options),
};
