import { existsSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { devicePool } from '../devices/device-pool.ts';
import { endsPool } from '../ends/ends-pool.ts';
import { Child, type CommandLine, run } from '../processes/child.ts';
import { collectGarbage, INSPECTABLE } from '../processes/garbage.ts';
import type { Address } from '../traffic/connection.ts';
import type { Link } from '../traffic/link.ts';
import { freePort } from './free-port.ts';
import type { Peer, RunningPeer } from './peer.ts';

const HOST = '127.0.0.1';
const DEVICE = 'bench';
const SERVICE = 'target';
const BIN = resolve(import.meta.dirname, '../../packages/cli/bin/culvert.js');

/** Arguments for every `node` process of Culvert, such as `--cpu-prof`, from the environment. */
const nodeArguments = (): string[] => (process.env['BENCH_NODE_ARGUMENTS'] ?? '').split(' ').filter(Boolean);

const culvertLine = (args: readonly string[], env: Record<string, string> = {}): CommandLine => ({
  command: process.execPath,
  args: [...INSPECTABLE, ...nodeArguments(), BIN, ...args],
  env,
});

/** Default settings except the limits on new streams per second: by default a hub refuses more than 200 a second for one device, and the bench opens more. */
const CONFIG = 'limits: { newStreamsPerSecondPerDevice: 100000, newStreamsPerSecond: 100000 }\n';

/** How a peer's connections are carried between its two ends. */
interface Carriage {
  /** Whether each connection has a stream of its own. */
  readonly isRaw: boolean;
  /** Whether the agent has a place for its key, without which it offers unencrypted sessions only. */
  readonly hasDeviceKey: boolean;
  /** What `culvert connect` prints at the first connection, which shows that they are carried as meant. */
  readonly shownBy: RegExp;
}

/** Culvert with a stream of its own for each connection, as to clients that know no sessions. */
export const culvertRaw = culvertPeer('culvert-raw', 'culvert hub, culvert agent and culvert connect --raw', {
  isRaw: true,
  hasDeviceKey: true,
  shownBy: /warning: .*raw stream|\[1\] target opened/,
});

/** Culvert with a session that is not encrypted between its two ends. */
export const session = culvertPeer('session', 'culvert hub, culvert agent without a key of its own, culvert connect', {
  isRaw: false,
  hasDeviceKey: false,
  shownBy: /warning: .*unencrypted session/,
});

/** Culvert as users run it: with a session that is encrypted between its two ends. */
export const encryptedSession = culvertPeer('session-e2e', 'culvert hub, culvert agent and culvert connect', {
  isRaw: false,
  hasDeviceKey: true,
  shownBy: /seen for the first time/,
});

function culvertPeer(name: string, title: string, carriage: Carriage): Peer {
  return {
    name,
    title,
    family: 'tunnel',
    missing: () => (existsSync(BIN) ? undefined : 'the culvert command is not built: run tsc -b'),
    start: (target, workspace, link) => startCulvert(target, workspace, link, carriage),
  };
}

async function startCulvert(
  target: Address,
  workspace: string,
  link: Link,
  { isRaw, hasDeviceKey, shownBy }: Carriage,
): Promise<RunningPeer> {
  const connectArguments = isRaw ? ['--raw'] : [];
  const children: Child[] = [];
  const start = (line: CommandLine): Child => {
    const child = new Child(line).readOutput();
    children.unshift(child);
    return child;
  };
  try {
    const dataDirectory = join(workspace, 'data');
    const access = ['--data-dir', dataDirectory];
    const config = join(workspace, 'hub.yaml');
    writeFileSync(config, CONFIG);
    const port = await freePort();
    const at = `${HOST}:${port}`;
    const reached = `${HOST}:${await link.through(port, 2)}`;
    const hub = start(
      culvertLine([
        ...['hub', ...access, '--config', config],
        ...['--listen', at, '--advertise', reached, '--admin-listen', `${HOST}:0`],
      ]),
    );
    await hub.ready(/hub-started|listening/);
    const created = await run(culvertLine(['device', 'create', DEVICE, '--output', 'json', ...access]));
    const agent = start(
      link.onDevice(
        culvertLine(['agent', '--service', `${SERVICE}=${target.host}:${target.port}`], {
          CULVERT_DEVICE_CONNECTION_STRING: connectionString(created),
          CULVERT_CA_FILE: join(dataDirectory, 'ca.pem'),
          // Where there is a file, no directory for the key can be made.
          XDG_STATE_HOME: hasDeviceKey ? join(workspace, 'device') : config,
          STATE_DIRECTORY: '',
        }),
      ),
    );
    await agent.ready(/attached to the hub/);
    const listening = new RegExp(`${SERVICE}.*${HOST}:(\\d+)`);
    const state = { XDG_STATE_HOME: join(workspace, 'service') };
    const listen = culvertLine(['connect', DEVICE, `${SERVICE}=${HOST}:0`, ...connectArguments, ...access], state);
    const proxy = start(listen);
    const entry = { host: HOST, port: Number((await proxy.ready(listening))[1]) };
    await shown(proxy, entry, shownBy);
    return {
      version: `culvert ${(await run(culvertLine(['--version']))).trim()}`,
      entry,
      processes: [
        { role: 'hub', pid: hub.pid },
        { role: 'agent', pid: agent.pid },
        { role: 'connect', pid: proxy.pid },
      ],
      // Control channels and handshakes are the same whatever streams carry.
      ...(isRaw ? { devices: devicePool(dataDirectory, start), ends: endsPool(dataDirectory, start) } : {}),
      launches: {
        floor: { command: process.execPath, args: ['-e', '0'] },
        version: culvertLine(['--version']),
        listen: { ...listen, listening },
        stdio: culvertLine(['connect', DEVICE, SERVICE, '--stdio', ...connectArguments, ...access], state),
      },
      collectGarbage: async () => {
        for (const child of [hub, agent, proxy]) await collectGarbage(child);
      },
      stop: async () => {
        for (const child of children) await child.stop();
      },
    };
  } catch (error) {
    for (const child of children) await child.stop();
    throw error;
  }
}

/** Opens a connection and waits until the local proxy prints how it carries it. @throws Error when it carries it in another way */
async function shown(proxy: Child, { host, port }: Address, pattern: RegExp): Promise<void> {
  const socket = connect(port, host).on('error', () => undefined);
  try {
    await proxy.ready(pattern);
  } finally {
    socket.end();
    socket.destroySoon();
  }
}

function connectionString(json: string): string {
  const device: unknown = JSON.parse(json.slice(json.indexOf('{'), json.lastIndexOf('}') + 1));
  if (typeof device === 'object' && device !== null && 'connectionString' in device) {
    return String(device.connectionString);
  }
  throw new Error(`culvert device create printed no connection string`);
}
