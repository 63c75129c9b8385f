import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServiceClient } from '@culvert/service';
import { startHub, type TestHub } from '@culvert/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { culvert, type Running, startCulvert } from './culvert.fixture.ts';

const FAKETIME = ['x86_64', 'aarch64']
  .map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`)
  .find((library) => existsSync(library));

let hub: TestHub;
let echo: Server;
let caller: ServiceClient;
let directory: string;
let file: string;
let keyFile: string;
const agents: Running[] = [];
let devices = 0;
let deviceId: string;

beforeAll(async () => {
  hub = await startHub();
  echo = createServer((socket) => socket.on('error', () => socket.destroy()).pipe(socket)).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  caller = ServiceClient.fromConnectionString(hub.ownerConnectionString, { outbound: hub.outbound });
});

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-agent-'));
  file = join(directory, 'agent.yaml');
  keyFile = join(directory, 'device.txt');
  deviceId = `field-${++devices}`;
  await putKey(await hub.createDevice(deviceId));
  await configure(['one']);
});

afterEach(async () => {
  for (const { child, ended } of agents.splice(0)) {
    child.kill('SIGKILL');
    await ended;
  }
  await rm(directory, { recursive: true, force: true });
});

afterAll(async () => {
  caller.close();
  await new Promise((resolve) => echo.close(resolve));
  await hub.stop();
});

const putKey = (text: string): Promise<void> => writeFile(keyFile, `${text}\n`, { mode: 0o600 });

/** Writes the configuration: each of these services leads to the echo server. */
async function configure(services: readonly string[], extra = ''): Promise<void> {
  const lines = services.map((name) => `  ${name}: ${(echo.address() as AddressInfo).port}\n`);
  const ca = join(hub.directory, 'ca.pem');
  await writeFile(file, `connectionStringFile: device.txt\ncaFile: ${ca}\nservices:\n${lines.join('')}${extra}`);
}

function startAgent(args: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
  const agent = startCulvert(['agent', '--config', file, ...args], env);
  agents.push(agent);
  return agent;
}

async function stopped(agent: Running): Promise<string> {
  agent.child.kill('SIGTERM');
  const { code, stderr } = await agent.ended;
  expect(code).toBe(0);
  return stderr;
}

/** Sends a line through a new stream and gets it back. */
async function echoes(service: string): Promise<void> {
  const stream = await caller.openStream(deviceId, { name: service });
  stream.on('error', () => undefined);
  stream.write('ping');
  const [data] = (await once(stream, 'data')) as [Buffer];
  expect(data.toString()).toBe('ping');
  stream.destroy();
}

describe('an agent that is refused waits', () => {
  // The three agents run at once, since each waits for up to 30 s before it tries again, as agents in the field do.
  it('while its device is disabled, its key is wrong or its hub is not trusted, and comes back when that is mended', async () => {
    const disabled = startAgent();
    const disabledId = deviceId;
    await hub.owner.devices.update({ deviceId, status: 'disabled' });
    const right = await hub.createDevice('wrong-key');
    const keyPath = join(directory, 'key.txt');
    await writeFile(keyPath, right.replace(/SharedAccessKey=.*/, `SharedAccessKey=${'A'.repeat(44)}`), { mode: 0o600 });
    const wrong = startAgent(['--connection-string-file', keyPath]);
    const untrustedPath = join(directory, 'untrusted.txt');
    await writeFile(untrustedPath, await hub.createDevice('untrusting'), { mode: 0o600 });
    const other = await startHub();
    const caPath = join(directory, 'ca.pem');
    await writeFile(caPath, other.ca);
    await other.stop();
    const untrusting = startAgent(['--connection-string-file', untrustedPath, '--ca-file', caPath]);

    expect(await wrong.line(/not attached/)).toMatch(
      /^culvert: not attached: The credential was not accepted; the connection string is read again .*trying again in \d+ s, and for as long as it takes$/,
    );
    expect(await untrusting.line(/not attached/)).toMatch(/authority this machine does not know.*trying again/);
    // The device may have been attached before it was disabled.
    expect(await disabled.line(/not attached/)).toMatch(/The device is disabled|revoked/);
    await hub.event(
      'connection-refused',
      ({ claimed, error }) => claimed?.deviceId === disabledId && error === 'device_disabled',
    );

    await hub.owner.devices.update({ deviceId, status: 'enabled' });
    await writeFile(keyPath, right, { mode: 0o600 });
    await writeFile(caPath, hub.ca);
    for (const agent of [disabled, wrong, untrusting]) await agent.line(/^culvert: attached to the hub/);
    expect((await stopped(wrong)).match(/not attached/g)).toHaveLength(1);
    expect((await stopped(untrusting)).match(/not attached/g)).toHaveLength(1);
    await stopped(disabled);
  }, 120_000);

  it('with a name that resolves to nothing', async () => {
    await putKey(`HostName=hub.invalid;DeviceId=${deviceId};SharedAccessKey=${'A'.repeat(44)}`);
    const agent = startAgent();
    expect(await agent.line(/not attached/)).toMatch(/hub\.invalid:443.*trying again/);
    await stopped(agent);
  });

  // Debian's `faketime` preloads a library that sets the clock of one process. This is the situation of a board whose clock NTP has not set yet.
  it.runIf(FAKETIME !== undefined)('with a clock two days behind, and says whose clock says what', async () => {
    const agent = startAgent([], { LD_PRELOAD: FAKETIME, FAKETIME: '-2d' });
    const line = await agent.line(/not attached/);
    expect(line).toMatch(
      /The token expired at \d{4}-\S+Z, and the hub's clock says \d{4}-\S+Z\. This machine's clock says \d{4}-\S+Z: set it; trying again/,
    );
    const [, hubSays = '', machineSays = ''] =
      /hub's clock says (\S+)\. .*machine's clock says (\S+):/.exec(line) ?? [];
    expect(Math.round((Date.parse(hubSays) - Date.parse(machineSays)) / 3_600_000)).toBe(48);
    agent.child.kill('SIGTERM');
    expect((await agent.ended).code).toBe(0);
  });
});

describe('what this process cannot read ends an agent, when it starts', () => {
  it.each([
    ['no file', async () => rm(file), 78],
    ['an unknown key', async () => configure(['one'], 'service: {}\n'), 78],
    ['no connection string', async () => putKey('HostName=h'), 2],
    ['a CA that is none', async () => writeFile(join(directory, 'ca'), 'x'), 78],
  ] as const)('%s', async (_what, spoil, code) => {
    await spoil();
    const args = existsSync(join(directory, 'ca')) ? ['--ca-file', join(directory, 'ca')] : [];
    const ended = await culvert(['agent', '--config', file, ...args]);
    expect(ended.code).toBe(code);
    expect(ended.stderr).toMatch(/^culvert: .*\n$/);
  });
});

describe('SIGHUP', () => {
  it('adds and removes services and leaves running streams alone', async () => {
    const agent = startAgent();
    await agent.line(/attached to the hub/);
    const running = await caller.openStream(deviceId, { name: 'one' });
    await configure(['two']);
    agent.child.kill('SIGHUP');
    await agent.line(/reloaded: offers two \(new: two; no longer: one\)$/);
    running.write('still here');
    expect(String((await once(running, 'data'))[0])).toBe('still here');
    running.destroy();
    await echoes('two');
    await expect(caller.openStream(deviceId, { name: 'one' })).rejects.toThrow(/no service 'one' \(it offers: two\)/);
    await stopped(agent);
  });

  it('with a bad file is said in one line, and the agent goes on as before', async () => {
    const agent = startAgent();
    await agent.line(/attached to the hub/);
    await configure(['two'], 'nonsense: 1\n');
    agent.child.kill('SIGHUP');
    expect(await agent.line(/not reloaded/)).toMatch(/agent\.yaml: there is no key 'nonsense'; going on as before$/);
    await echoes('one');
    await stopped(agent);
  });

  it('with another device’s connection string attaches as that, and its streams go on', async () => {
    const agent = startAgent(['--output', 'json']);
    await agent.line(/"state":"attached"/);
    const running = await caller.openStream(deviceId, { name: 'one' });
    const other = `${deviceId}-new`;
    await putKey(await hub.createDevice(other));
    agent.child.kill('SIGHUP');
    await agent.line(/"reloaded".*"connection":true/);
    await hub.event('device-detached', (event) => event.deviceId === deviceId);
    const before = deviceId;
    deviceId = other;
    await echoes('one');
    running.write(before);
    expect(String((await once(running, 'data'))[0])).toBe(before);
    running.destroy();
    await stopped(agent);
  });

  it('with a key that the hub refuses keeps the connection that stands', async () => {
    const agent = startAgent();
    await agent.line(/attached to the hub/);
    await putKey(`HostName=127.0.0.1:${hub.port};DeviceId=${deviceId};SharedAccessKey=${'A'.repeat(44)}`);
    agent.child.kill('SIGHUP');
    await agent.line(/the new connection is not there yet: The credential was not accepted/);
    await echoes('one');
    await stopped(agent);
  });
});

it('an agent whose events nobody reads any more goes on', async () => {
  const agent = startAgent(['--output', 'json']);
  await agent.line(/"state":"attached"/);
  agent.child.stdout.destroy();
  await echoes('one');
  await agent.line(/cannot be written to standard output/);
  await echoes('one');
  await stopped(agent);
});

it('an exception that nothing caught is told once, and streams go on', async () => {
  const throwing = join(directory, 'throwing.mjs');
  await writeFile(throwing, "process.on('SIGUSR2', () => { throw new TypeError('of one stream'); });");
  const agent = startAgent([], { NODE_OPTIONS: `--import ${throwing}` });
  await agent.line(/attached to the hub/);
  const running = await caller.openStream(deviceId, { name: 'one' });
  agent.child.kill('SIGUSR2');
  await agent.line(/something went wrong inside.*TypeError: of one stream; going on/);
  agent.child.kill('SIGUSR2');
  running.write('still here');
  expect(String((await once(running, 'data'))[0])).toBe('still here');
  running.destroy();
  await echoes('one');
  expect((await stopped(agent)).match(/something went wrong/g)).toHaveLength(1);
});
