import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { eventually, HANG_MS } from './eventually.ts';

/** How a program is started. */
export interface ProgramOptions {
  readonly cwd?: string;
  /** The whole environment; by default the one of {@link cleanEnvironment}. */
  readonly env?: NodeJS.ProcessEnv;
}

/** How a program ended. */
export interface Ended {
  /** The exit code, or 128 and the signal's number as a shell says it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** This process's environment without proxies, CI's and our own variables: what a test wants there it says. */
export function cleanEnvironment(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(CULVERT_|VITEST|NODE_|npm_|(https?|all|no)_proxy$|XDG_|SSH_|DISPLAY$)/i.test(name),
  );
  return { ...Object.fromEntries(kept), ...extra };
}

/** Bytes of each output that are kept: the newest, enough for any failing test's story. */
const KEPT_OUTPUT = 4 * 1024 * 1024;

/** A real program, started in its own process group so that its end takes its children with it. */
export class Program {
  readonly child: ChildProcessWithoutNullStreams;
  /** Settles once, when the program has ended and its outputs are closed. Never rejects but when it could not be started. */
  readonly ended: Promise<Ended>;
  readonly #name: string;
  #stdout = '';
  #stderr = '';
  #running = true;

  constructor(command: string, args: readonly string[], options: ProgramOptions = {}) {
    this.#name = [command, ...args].join(' ').slice(0, 200);
    this.child = spawn(command, args, {
      cwd: options.cwd,
      // By this, what a test leaves behind is known (tools/watched-forks.ts).
      env: { TEST_WORKER: process.env['TEST_WORKER'], ...(options.env ?? cleanEnvironment()) },
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.child.stdin.on('error', () => undefined); // EPIPE: the program ended before it read all
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

  /** Waits for a match in what the program has printed, on either output. Fails at once when the program ends without. */
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

  /** The end, or an error with all that was printed when it does not come in time. */
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

  /** Sends a signal to the program alone. */
  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Stops the program and all it started: SIGTERM, and SIGKILL after five seconds. */
  async stop(): Promise<void> {
    if (this.child.pid === undefined) return;
    const group = -this.child.pid;
    const send = (signal: NodeJS.Signals) => {
      try {
        process.kill(group, signal);
      } catch {
        // Nobody is left in the group.
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

/** Runs a program to its end. `input` is its whole standard input. */
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
