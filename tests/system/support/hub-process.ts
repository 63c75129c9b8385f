import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { ServiceClient, type ServiceClientOptions } from '@culvert/service';
import { WebSocket } from 'ws';
import type { Cleanup } from './cleanup.ts';
import { culvert, culvertCommand } from './culvert.ts';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { ownLoopback } from './own-loopback.ts';
import { cleanEnvironment, Program } from './program.ts';
import { scratch } from './scratch.ts';

/** Options of a hub that is started for a test. */
export interface HubProcessOptions {
  /** Whether to listen for MQTT over TLS as well. */
  readonly mqtt?: boolean;
  /** Whether to listen on 443, 5671 and 8883, on a loopback address used by this process only, for clients with fixed ports. */
  readonly knownPorts?: boolean;
  /** Whether {@link HubProcess.heapBytes} is available. */
  readonly inspect?: boolean;
  /** Port of a load balancer in front of the main port; clients then reach the hub only through it. */
  readonly balancer?: number;
  /** The hub's ports, when they must be known before it starts. */
  readonly ports?: { readonly main: number; readonly mqtt: number };
  /** Additional environment variables. */
  readonly env?: NodeJS.ProcessEnv;
  /** The contents of the configuration file. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** A hub in a separate process, started by the command that a user types, with its own data directory. */
export class HubProcess {
  /** The loopback address it listens on. */
  readonly host: string;
  readonly port: number;
  /** Port for MQTT over TLS. */
  readonly mqttPort: number | undefined;
  /** Port for probes and metrics. */
  readonly adminPort: number;
  readonly dataDir: string;
  readonly caFile: string;
  /** A home directory for the commands of this test. */
  readonly home: string;
  readonly #args: readonly string[];
  /** The port through which clients reach the main port. */
  readonly #reachedAt: number;
  readonly #env: NodeJS.ProcessEnv;
  #program: Program | undefined;

  private constructor(home: string, ports: { main: number; admin: number; mqtt?: number }, options: HubProcessOptions) {
    this.home = home;
    this.host = options.knownPorts ? ownLoopback() : '127.0.0.1';
    this.port = ports.main;
    this.#reachedAt = options.balancer ?? ports.main;
    this.mqttPort = ports.mqtt;
    this.adminPort = ports.admin;
    this.dataDir = join(home, 'hub');
    this.caFile = join(this.dataDir, 'ca.pem');
    const inspect = options.inspect ? { NODE_OPTIONS: '--inspect=127.0.0.1:0' } : {};
    this.#env = cleanEnvironment({ HOME: home, ...options.env, ...inspect });
    this.#args = [
      ...['hub', '--data-dir', this.dataDir, '--listen', `${this.host}:${ports.main}`],
      ...['--admin-listen', `127.0.0.1:${ports.admin}`],
      ...(ports.mqtt === undefined ? [] : ['--mqtt-listen', `${this.host}:${ports.mqtt}`]),
      ...(options.knownPorts ? ['--amqp-listen', `${this.host}:5671`] : []),
      ...(options.config === undefined ? [] : ['--config', writeConfig(home, options.config)]),
    ];
  }

  static async start(cleanup: Cleanup, options: HubProcessOptions = {}): Promise<HubProcess> {
    const known = options.knownPorts === true;
    const [main, admin, mqtt] = await Promise.all([
      options.ports?.main ?? (known ? 443 : freePort()),
      freePort(),
      options.ports?.mqtt ?? (known ? 8883 : freePort()),
    ]);
    const hasMqtt = options.mqtt || known || options.ports !== undefined;
    const hub = new HubProcess(scratch(cleanup), { main, admin, ...(hasMqtt ? { mqtt } : {}) }, options);
    cleanup.defer(hub, () => hub.#program?.stop());
    await hub.start();
    return hub;
  }

  /** Starts the hub, possibly again with the same data, and waits until it answers. */
  async start(): Promise<void> {
    const program = new Program(...culvertCommand(...this.#args), { env: this.#env });
    this.#program = program;
    await eventually('the hub to answer', async () => !program.running || (await this.get('/')) === 200);
    if (!program.running) throw new Error(`the hub ended at once: ${program.stderr}${program.stdout}`);
  }

  /** Stops the hub with a signal, and waits until it has exited. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number> {
    this.program.signal(signal);
    return (await this.program.end(30_000)).code;
  }

  get program(): Program {
    if (this.#program === undefined) throw new Error('the hub was not started');
    return this.#program;
  }

  get hostName(): string {
    return `${this.host}:${this.port}`;
  }

  get ca(): string {
    return readFileSync(this.caFile, 'utf8');
  }

  /** Returns the connection string of a shared access policy. */
  policy(name: string): string {
    return readFileSync(join(this.dataDir, 'policies', name), 'utf8').trim();
  }

  /** Returns a client with all permissions, which is closed at the end of the test. With `session: false` all its streams are raw. */
  owner(cleanup: Cleanup, options: Pick<ServiceClientOptions, 'session'> = {}): ServiceClient {
    const all = { ...options, outbound: { ca: this.ca } };
    const client = ServiceClient.fromConnectionString(this.policy('iothubowner'), all);
    return cleanup.defer(client, () => client.close());
  }

  /** Returns the environment in which a service's commands find this hub. */
  serviceEnv(): NodeJS.ProcessEnv {
    return { HOME: this.home, CULVERT_CONNECTION_STRING: this.policy('service'), CULVERT_CA_FILE: this.caFile };
  }

  /** Registers a device with the command, and returns its connection string. */
  async createDevice(deviceId: string): Promise<string> {
    const made = await culvert(['device', 'create', '--output', 'json', '--data-dir', this.dataDir, '--', deviceId], {
      env: cleanEnvironment({ HOME: this.home }),
    });
    if (made.code !== 0) throw new Error(`device create ended with ${made.code}: ${made.stderr}`);
    return (JSON.parse(made.stdout) as { connectionString: string }).connectionString;
  }

  /** Waits until the hub reports that the device's control channel is attached. */
  async connected(client: ServiceClient, deviceId: string, timeoutMs?: number): Promise<void> {
    await eventually(
      `${deviceId} to be attached`,
      async () => (await client.devices.get(deviceId)).connectionState === 'Connected',
      timeoutMs,
    );
  }

  /** Returns the resident memory of the hub's process, in bytes. */
  residentBytes(): number {
    const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.program.pid}/status`, 'utf8'));
    return Number(match?.[1]) * 1024;
  }

  /** Returns the bytes of the JavaScript heap and its buffers after a full garbage collection: those that the hub still references. */
  async heapBytes(): Promise<number> {
    const [, url = ''] = await this.program.waitFor(/Debugger listening on (ws:\S+)/);
    const socket = new WebSocket(url);
    await once(socket, 'open');
    const ask = async (method: string): Promise<Record<string, number>> => {
      socket.send(JSON.stringify({ id: 1, method }));
      const [data] = await once(socket, 'message');
      return (JSON.parse(String(data)) as { result: Record<string, number> }).result;
    };
    await ask('HeapProfiler.collectGarbage');
    const { usedSize = 0, backingStorageSize = 0 } = await ask('Runtime.getHeapUsage');
    socket.terminate();
    return usedSize + backingStorageSize;
  }

  /** Returns the status of a GET without credentials. */
  get(path: string): Promise<number> {
    return new Promise((resolve, reject) => {
      const call = request(
        { host: this.host, port: this.#reachedAt, path, ca: this.ca, timeout: 5_000, agent: false },
        (answer) => {
          answer.resume();
          resolve(answer.statusCode ?? 0);
        },
      );
      call.on('timeout', () => call.destroy(new Error('no answer')));
      call.on('error', reject).end();
    });
  }
}

function writeConfig(directory: string, config: Readonly<Record<string, unknown>>): string {
  const file = join(directory, 'hub.yaml');
  writeFileSync(file, JSON.stringify(config)); // JSON is YAML
  return file;
}
