import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cleanup } from './cleanup.ts';
import { culvertCommand } from './culvert.ts';
import { eventually } from './eventually.ts';
import type { Place } from './field-network.ts';
import { cleanEnvironment, must, Program } from './program.ts';
import { scratch } from './scratch.ts';

/** Starts a command at a place. */
export function startAt(
  cleanup: Cleanup,
  place: Place,
  command: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Program {
  const [first = '', ...rest] = [...place.prefix, ...command];
  return cleanup.defer(new Program(first, rest, { env: cleanEnvironment(env) }), (program) => program.stop());
}

/** A hub at its own place in a field network, with methods that start the commands of both sides. */
export class FieldHub {
  readonly place: Place;
  readonly home: string;
  #program: Program;
  readonly #cleanup: Cleanup;

  private constructor(cleanup: Cleanup, place: Place, home: string) {
    this.place = place;
    this.home = home;
    this.#cleanup = cleanup;
    this.#program = this.#run();
  }

  static async start(cleanup: Cleanup, place: Place): Promise<FieldHub> {
    const hub = new FieldHub(cleanup, place, scratch(cleanup));
    await hub.answers();
    return hub;
  }

  get program(): Program {
    return this.#program;
  }

  get #dataDir(): string {
    return join(this.home, 'hub');
  }

  #run(): Program {
    const listen = ['--listen', `${this.place.address}:8443`, '--admin-listen', '127.0.0.1:9090'];
    const command = culvertCommand('hub', '--data-dir', this.#dataDir, ...listen).flat();
    return startAt(this.#cleanup, this.place, command, { HOME: this.home });
  }

  /** Starts the hub again with the same data. */
  async restart(): Promise<void> {
    this.#program = this.#run();
    await this.answers();
  }

  async answers(): Promise<void> {
    const probe = [...this.place.prefix.slice(1), ...['curl', '-sf', 'http://127.0.0.1:9090/readyz']];
    await eventually('the hub to be ready', async () => (await must('ip', probe)).includes('ok'));
  }

  /** Runs a `culvert` command on the hub's machine, as the hub's owner, and returns its output. */
  culvert(...args: readonly string[]): Promise<string> {
    const command = culvertCommand(...args).flat();
    const env = cleanEnvironment({ HOME: this.home, CULVERT_DATA_DIR: this.#dataDir });
    return must('ip', [...this.place.prefix.slice(1), ...command], { env });
  }

  /** Starts a program at a place; it is stopped at the end of the test. */
  start(place: Place, command: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
    return startAt(this.#cleanup, place, command, env);
  }

  async #createDevice(deviceId: string): Promise<string> {
    const text = await this.culvert('device', 'create', '--output', 'json', '--', deviceId);
    return (JSON.parse(text) as { connectionString: string }).connectionString;
  }

  /** Registers a device and starts its agent at `place`; resolves when the agent is attached. `services` are `NAME=HOST:PORT`. */
  async agent(place: Place, deviceId: string, services: readonly string[], shell = 'exec "$@"'): Promise<Program> {
    const connectionString = await this.#createDevice(deviceId);
    const command = culvertCommand('agent', ...services.flatMap((service) => ['--service', service])).flat();
    const program = startAt(this.#cleanup, place, ['sh', '-c', shell, 'sh', ...command], {
      HOME: this.home,
      CULVERT_DEVICE_CONNECTION_STRING: connectionString,
      CULVERT_CA_FILE: join(this.#dataDir, 'ca.pem'),
    });
    await program.waitFor(/attached|connected/i);
    return program;
  }

  /** Returns the environment for a service's commands, at any place. */
  serviceEnv(): NodeJS.ProcessEnv {
    return {
      HOME: this.home,
      CULVERT_CONNECTION_STRING: readFileSync(join(this.#dataDir, 'policies', 'service'), 'utf8').trim(),
      CULVERT_CA_FILE: join(this.#dataDir, 'ca.pem'),
    };
  }

  /** Starts `culvert connect` at `place`, with services as `NAME=PORT` and further flags; resolves when it listens. */
  async connect(
    place: Place,
    deviceId: string,
    services: readonly string[],
    flags: readonly string[] = [],
  ): Promise<Program> {
    const command = culvertCommand('connect', ...flags, '--', deviceId, ...services).flat();
    const program = startAt(this.#cleanup, place, command, this.serviceEnv());
    await program.waitFor(/127\.0\.0\.1:\d+/);
    return program;
  }
}
