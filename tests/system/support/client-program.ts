import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Cleanup } from './cleanup.ts';
import { ROOT } from './culvert.ts';
import { eventually } from './eventually.ts';
import type { HubProcess } from './hub-process.ts';
import { cleanEnvironment, Program } from './program.ts';

/** The directory of the published clients and of the programs that use them; `.ci/run` installs the clients. */
const CLIENTS = join(ROOT, 'tests/system/clients');

/** The result of a call. */
export interface Outcome {
  readonly value?: unknown;
  /** The SDK's error: its class, its message, the status of the HTTP answer and the message of the error it wraps, if any. */
  readonly error?: {
    readonly name: string;
    readonly message: string;
    readonly status?: number;
    readonly cause?: string;
  };
}

/** An event that a program prints without a request. */
export interface ClientEvent {
  readonly event: string;
  readonly error?: unknown;
}

type Line = { id: number } & Outcome;

/** Starts a program of `tests/system/clients`. It trusts the hub through NODE_EXTRA_CA_CERTS, unless `env` overrides that. */
export function startClient(cleanup: Cleanup, hub: HubProcess, name: string, env: NodeJS.ProcessEnv): Program {
  if (!existsSync(join(CLIENTS, 'node_modules')))
    throw new Error('the published clients are not installed: npm ci --prefix tests/system/clients');
  const program = new Program(process.execPath, [join(CLIENTS, name)], {
    env: cleanEnvironment({ HOME: hub.home, NODE_EXTRA_CA_CERTS: hub.caFile, ...env }),
  });
  return cleanup.defer(program, () => program.stop());
}

/** A program that executes commands, one per line, and is stopped at the end of the test. */
export class ClientProgram {
  readonly program: Program;
  #calls = 0;

  private constructor(program: Program) {
    this.program = program;
  }

  static async start(cleanup: Cleanup, hub: HubProcess, name: string, env: NodeJS.ProcessEnv): Promise<ClientProgram> {
    const client = new ClientProgram(startClient(cleanup, hub, name, env));
    await client.program.waitFor(/"ready"/);
    return client;
  }

  /** All events that the program has printed without a request, in order, without its `ready` event. */
  get events(): ClientEvent[] {
    const events = this.#lines().filter((line): line is ClientEvent => 'event' in line);
    return events.filter(({ event }) => event !== 'ready');
  }

  /** Sends a command and waits for its result. */
  async ask(call: string, ...args: readonly unknown[]): Promise<Outcome> {
    const id = ++this.#calls;
    this.program.child.stdin.write(`${JSON.stringify({ id, call, args })}\n`);
    const found = await eventually(`the outcome of ${call}`, () => {
      if (!this.program.running) throw new Error('it has ended');
      return this.#lines().find((line): line is Line => 'id' in line && line.id === id);
    }).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.program.stdout}\n${this.program.stderr}`);
    });
    const { id: _, ...outcome } = found;
    return outcome;
  }

  /** Closes the program's input, which ends the program. */
  async end(): Promise<number> {
    this.program.child.stdin.end();
    return (await this.program.end()).code;
  }

  #lines(): (Line | ClientEvent)[] {
    const whole = this.program.stdout.slice(0, this.program.stdout.lastIndexOf('\n') + 1);
    return whole
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Line | ClientEvent);
  }
}
