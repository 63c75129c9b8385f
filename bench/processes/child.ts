import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { promisify } from 'node:util';

/** A program to start. */
export interface CommandLine {
  readonly command: string;
  readonly args: readonly string[];
  /** Added to the bench's own environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Milliseconds within which a program must report that it is ready. */
const READY_MS = 20_000;
/** Milliseconds between two attempts to connect to a program. */
const RETRY_MS = 20;
/** Milliseconds within which a program must end after SIGTERM, before it is killed. */
const STOP_MS = 5_000;
/** Maximum bytes of output that is data: a report, not a transfer. */
const MOST_OUTPUT_BYTES = 4 * 2 ** 20;
/** Characters of output kept for the message about a program that failed. */
const KEPT_CHARACTERS = 4_000;

/** A running program of the bench. Its output is searched for lines that report readiness, and kept for the error message if the program fails. */
export class Child {
  readonly pid: number;
  readonly process: ChildProcessWithoutNullStreams;
  readonly #exited: Promise<void>;
  readonly #title: string;
  #output = '';
  #onOutput: () => void = () => undefined;

  constructor(line: CommandLine) {
    this.#title = `${line.command} ${line.args.slice(0, 2).join(' ')}`.trim();
    this.process = spawn(line.command, line.args, { env: { ...process.env, ...line.env } });
    this.#exited = new Promise((resolve) => {
      this.process.once('close', () => resolve());
      this.process.once('error', (error) => {
        this.#append(error.message);
        resolve();
      });
    });
    this.process.stdin.on('error', () => undefined);
    this.process.stderr.setEncoding('utf8').on('data', (text: string) => this.#append(text));
    this.pid = this.process.pid ?? 0;
  }

  /** Reads standard output as text, for {@link ready}. Without this call the caller can read it as bytes. */
  readOutput(): this {
    this.process.stdout.setEncoding('utf8').on('data', (text: string) => this.#append(text));
    return this;
  }

  /**
   * Resolves with the first match of `pattern` in the program's output so far or later.
   * @throws Error with the program's output when the program ends or `withinMs` pass before a match
   */
  ready(pattern: RegExp, withinMs = READY_MS): Promise<RegExpExecArray> {
    return this.#before(`did not print ${pattern}`, withinMs, (resolve) => {
      this.#onOutput = () => {
        const match = pattern.exec(this.#output);
        if (match !== null) resolve(match);
      };
      this.#onOutput();
    });
  }

  /**
   * Resolves once a program accepts connections on `port`, for programs that do not report this themselves.
   * @throws Error with its output when it ends or {@link READY_MS} pass first
   */
  listening(port: number): Promise<void> {
    let over = false;
    const attempt = (resolve: () => void): void => {
      const socket = connect(port, '127.0.0.1');
      socket.once('connect', () => {
        socket.destroy();
        resolve();
      });
      socket.once('error', () => {
        if (!over) setTimeout(attempt, RETRY_MS, resolve);
      });
    };
    return this.#before<void>(`did not listen on port ${port}`, READY_MS, attempt).finally(() => {
      over = true;
    });
  }

  /**
   * Resolves with the first bytes on standard output, for a program whose output is data.
   * @throws Error with its messages when it ends or {@link READY_MS} pass first
   */
  firstOutput(): Promise<Buffer> {
    return this.#before('did not print anything', READY_MS, (resolve) => {
      this.process.stdout.once('data', resolve);
    });
  }

  /**
   * Resolves when the program has ended with exit code 0.
   * @throws Error with its output when it failed
   */
  async succeeded(): Promise<string> {
    await this.#exited;
    if (this.process.exitCode !== 0) throw this.#failure(`ended with ${this.process.exitCode ?? 'a signal'}`);
    return this.#output;
  }

  /** Sends SIGTERM to the program, and kills it when it does not end in time. */
  async stop(): Promise<void> {
    this.process.kill('SIGTERM');
    const timer = setTimeout(() => this.process.kill('SIGKILL'), STOP_MS);
    await this.#exited;
    clearTimeout(timer);
  }

  async #before<T>(missing: string, withinMs: number, wait: (resolve: (value: T) => void) => void): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        timer = setTimeout(() => reject(this.#failure(`${missing} in ${withinMs / 1000} s`)), withinMs);
        void this.#exited.then(() => reject(this.#failure('ended')));
        wait(resolve);
      });
    } finally {
      clearTimeout(timer);
      this.#onOutput = () => undefined;
    }
  }

  #append(text: string): void {
    this.#output = (this.#output + text).slice(-KEPT_CHARACTERS);
    this.#onOutput();
  }

  #failure(what: string): Error {
    return new Error(`${this.#title} ${what}:\n${this.#output.trim()}`);
  }
}

/** Runs a program to its end and returns its output from both streams; of long output only the end is kept. */
export function run(line: CommandLine): Promise<string> {
  const child = new Child(line).readOutput();
  child.process.stdin.end();
  return child.succeeded();
}

/**
 * Runs a program to its end and returns its whole standard output, for data.
 * @throws Error when the program failed
 */
export async function runForOutput({ command, args }: CommandLine): Promise<string> {
  const { stdout } = await promisify(execFile)(command, args, { maxBuffer: MOST_OUTPUT_BYTES });
  return stdout;
}
