import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { eventually, HANG_MS } from './eventually.ts';

/** Options for starting a program. */
export interface ProgramOptions {
  readonly cwd?: string;
  /** The whole environment; default: the result of {@link cleanEnvironment}. */
  readonly env?: NodeJS.ProcessEnv;
}

/** The result of a program that has ended. */
export interface Ended {
  /** The exit code, or 128 plus the signal number, as a shell reports it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Returns this process's environment without the variables of proxies, of CI and of Culvert; a test that needs one passes it in `extra`. */
export function cleanEnvironment(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(CULVERT_|VITEST|NODE_|npm_|(https?|all|no)_proxy$|XDG_|SSH_|DISPLAY$)/i.test(name),
  );
  return { ...Object.fromEntries(kept), ...extra };
}

/** Bytes of each output that are kept, the newest ones: enough to explain any failing test. */
const KEPT_OUTPUT = 4 * 1024 * 1024;

/** A real program, started in its own process group so that stopping it also stops its children. */
export class Program {
  readonly child: ChildProcessWithoutNullStreams;
  /** Resolves once, when the program has ended and its outputs are closed. Rejects only when the program could not be started. */
  readonly ended: Promise<Ended>;
  readonly #name: string;
  #stdout = '';
  #stderr = '';
  #running = true;

  constructor(command: string, args: readonly string[], options: ProgramOptions = {}) {
    this.#name = [command, ...args].join(' ').slice(0, 200);
    this.child = spawn(command, args, {
      cwd: options.cwd,
      // With this variable, processes that a test leaves behind are found (tools/watched-forks.ts).
      env: { TEST_WORKER: process.env['TEST_WORKER'], ...(options.env ?? cleanEnvironment()) },
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.child.stdin.on('error', () => undefined); // EPIPE: the program ended before it had read all of its input
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout = (this.#stdout + text).slice(-KEPT_OUTPUT);
    });
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-KEPT_OUTPUT);
    });
    this.ended = once(this.child, 'close').then(([code, signal]: unknown[]) => {
      this.#running = false;
      const number = constants.signals[signal as NodeJS.Signals] ?? 0;
      return { code: typeof code === 'number' ? code : 128 + number, stdout: this.#stdout, stderr: this.#stderr };
    });
    this.ended.catch(() => undefined);
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  get running(): boolean {
    return this.#running;
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error(`could not start ${this.#name}`);
    return this.child.pid;
  }

  /** Waits for a match in the program's output, on either stream. Rejects at once when the program ends without a match. */
  async waitFor(pattern: RegExp, timeoutMs = HANG_MS): Promise<RegExpExecArray> {
    let dead = false;
    const match = await eventually(
      `${pattern} from ${this.#name}`,
      () => {
        const found = pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr);
        dead = found === null && !this.#running;
        return found ?? dead;
      },
      timeoutMs,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.#story()}`);
    });
    if (dead || match === true) throw new Error(`ended without ${pattern}: ${this.#name}\n${this.#story()}`);
    return match;
  }

  /** Waits for the program's end. Rejects with the whole output when the program does not end in time. */
  async end(timeoutMs = HANG_MS): Promise<Ended> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`still running: ${this.#name}\n${this.#story()}`)), timeoutMs);
    });
    try {
      return await Promise.race([this.ended, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends a signal to the program only, not to its children. */
  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Stops the program and all its children: SIGTERM, then SIGKILL after five seconds. */
  async stop(): Promise<void> {
    if (this.child.pid === undefined) return;
    const group = -this.child.pid;
    const send = (signal: NodeJS.Signals) => {
      try {
        process.kill(group, signal);
      } catch {
        // The process group is empty.
      }
    };
    if (this.#running) send('SIGTERM');
    await this.end(5_000).catch(() => undefined);
    send('SIGKILL');
    await this.ended;
  }

  #story(): string {
    return `--- stdout\n${this.#stdout.slice(-4_000)}\n--- stderr\n${this.#stderr.slice(-8_000)}`;
  }
}

/** Runs a program and waits for its end. `input` is its whole standard input. */
export async function run(
  command: string,
  args: readonly string[],
  options: ProgramOptions & { input?: string | Buffer; timeoutMs?: number } = {},
): Promise<Ended> {
  const program = new Program(command, args, options);
  program.child.stdin.end(options.input ?? '');
  try {
    return await program.end(options.timeoutMs);
  } finally {
    await program.stop();
  }
}

/** Runs a program that must succeed, and returns its standard output. */
export async function must(
  command: string,
  args: readonly string[],
  options: ProgramOptions & { input?: string | Buffer; timeoutMs?: number } = {},
): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, options);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}\n${stdout}\n${stderr}`);
  return stdout;
}
