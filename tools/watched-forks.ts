import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { channel } from 'node:diagnostics_channel';
import { relative, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ForksPoolWorker, type PoolOptions, type PoolRunnerInitializer, type WorkerRequest } from 'vitest/node';
import { killProcessesOf, processesOf, WORKER_VARIABLE } from './test-processes.ts';

const ROOT = resolve(import.meta.dirname, '..');

/** Milliseconds that programs have to end after their test file has: a loaded machine takes its time over one that was told to. Vitest waits ten seconds. */
const ENDING_MS = 5_000;

/** Milliseconds between two looks at them. */
const LOOK_MS = 50;

/** Something that must not happen to a test file's worker; the reporter (`count-reporter.ts`), which is loaded apart from this file, is told by a channel. */
export interface Trouble {
  /** One line that names the file. */
  readonly text: string;
  /** Vitest counts it as a failure too. */
  readonly isCounted: boolean;
}

/** The name of that channel. */
export const TROUBLE = 'culvert:test-trouble';

const troubles = channel(TROUBLE);

/** What all that this run's workers start is known by. */
const run = `${process.pid}-${randomBytes(6).toString('hex')}-`;
let workers = 0;
let hasWarden = false;

/** Sees to it that nothing of this run is left even when this process is killed. */
function startWarden(): void {
  if (hasWarden) return;
  hasWarden = true;
  const entry = resolve(ROOT, 'tools/test-warden.ts');
  // Where one run starts another it is nobody's to kill: it ends when its own run has.
  const { [WORKER_VARIABLE]: _, ...env } = process.env;
  const warden = spawn(process.execPath, [entry, run], { detached: true, env, stdio: ['pipe', 'ignore', 'ignore'] });
  warden.on('error', () => undefined);
  warden.stdin.on('error', () => undefined);
  warden.unref();
  if ('unref' in warden.stdin && typeof warden.stdin.unref === 'function') warden.stdin.unref();
}

/**
 * A worker in a process of its own, as Vitest's pool `forks` has it, whose programs die with it: what a test file starts and does not end is killed and
 * counts as a failure. A worker that dies of a signal is told with the signal and the file, also when it dies while it is being ended, where
 * Vitest does not look.
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
      if (!this.#hasDied) this.#tell(`left a process behind: ${command}`, false);
    }
  }

  #onExit(code: number | null, signal: NodeJS.Signals | null): void {
    // Vitest ends a worker by SIGTERM.
    if (this.#isEnding && (signal === null || signal === 'SIGTERM')) return;
    this.#hasDied = true;
    killProcessesOf(this.#id);
    this.#tell(signal === null ? `ended with ${code} before it was done` : `died of ${signal}`, !this.#isEnding);
  }

  #tell(what: string, isCounted: boolean): void {
    const files = this.#files.map((file) => relative(ROOT, file)).join(', ') || 'a worker without a file';
    troubles.publish({ text: `${files} ${what}`, isCounted } satisfies Trouble);
  }
}

function hasFiles(context: unknown): context is { files: { filepath: string }[] } {
  return typeof context === 'object' && context !== null && 'files' in context && Array.isArray(context.files);
}

/** For `pool` of Vitest's configuration. */
export const watchedForks: PoolRunnerInitializer = {
  name: 'watched-forks',
  createPoolWorker: (options) => new WatchedFork(options),
};
