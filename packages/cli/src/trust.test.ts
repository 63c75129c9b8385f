import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startHub, type TestHub } from '@culvert/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { culvert, type Running, startCulvert } from './culvert.fixture.ts';
import { agentDirectory, openAgentKey, trustOptions } from './end-keys.ts';

let hub: TestHub;
let hubName: string;
let echo: Server;
let directory: string;
let number = 0;

beforeAll(async () => {
  hub = await startHub();
  hubName = `127.0.0.1:${hub.port}`;
  directory = mkdtempSync(join(tmpdir(), 'culvert-trust-'));
  echo = createServer({ allowHalfOpen: true }, (socket) =>
    socket.on('error', () => socket.destroy()).pipe(socket),
  ).listen(0, '127.0.0.1');
  await once(echo, 'listening');
});
afterAll(async () => {
  await new Promise((resolve) => echo.close(resolve));
  await hub.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** A user with files of their own. */
async function newUser() {
  const state = join(directory, `user-${++number}`);
  const env = {
    CULVERT_CA_FILE: join(hub.directory, 'ca.pem'),
    CULVERT_CONNECTION_STRING: await hub.policy('service'),
    XDG_STATE_HOME: state,
  };
  return { env, state: join(state, 'culvert') };
}

/** Starts an agent with a directory of its own, and returns the fingerprint that it prints. */
async function startAgent(connectionString: string, ...flags: string[]) {
  const state = join(directory, `agent-${++number}`);
  const env = {
    CULVERT_CA_FILE: join(hub.directory, 'ca.pem'),
    CULVERT_DEVICE_CONNECTION_STRING: connectionString,
    STATE_DIRECTORY: state,
  };
  const service = `echo=${(echo.address() as AddressInfo).port}`;
  const agent = startCulvert(['agent', '--service', service, ...flags], env);
  const line = await agent.line(/ offers /);
  await agent.line(/attached to the hub/);
  return { agent, state, fingerprint: / its key is (SHA256:\S+)$/.exec(line)?.[1] ?? '' };
}

async function stop({ child, ended }: Running): Promise<void> {
  child.kill('SIGTERM');
  await ended;
}

const stdio = (device: string, ...flags: string[]) => ['connect', device, 'echo', '--stdio', ...flags];

it('agent and connect encrypt by themselves; the first use prints the fingerprint; another key stops everything, until it is forgotten', async () => {
  const text = await hub.createDevice('press-7');
  const user = await newUser();
  const first = await startAgent(text);
  expect(first.fingerprint).toMatch(/^SHA256:.{43}$/);
  expect(statSync(join(first.state, 'end-key.pem')).mode & 0o777).toBe(0o600);

  const began = await culvert(stdio('press-7'), user.env, 'hello');
  expect(began).toEqual({
    code: 0,
    stdout: 'hello',
    stderr: `culvert: the key of press-7, seen for the first time, is ${first.fingerprint}; it is kept, and another is refused from now on\n`,
  });
  expect(await culvert(stdio('press-7'), user.env, 'again')).toEqual({ code: 0, stdout: 'again', stderr: '' });
  const answered = hub.events.filter((event) => event.type === 'stream-answered');
  expect(answered.map(({ session }) => session?.encrypted)).toEqual([true, true]);

  const listed = await culvert(['trust', 'list', '--output', 'json'], user.env);
  const pin = { hub: hubName, deviceId: 'press-7', fingerprint: first.fingerprint, since: expect.any(String) };
  expect(JSON.parse(listed.stdout)).toEqual([pin]);
  const table = await culvert(['trust', 'list'], user.env);
  expect(table.stdout).toMatch(
    /^HUB +DEVICE +MODULE +FINGERPRINT +SINCE\n127\.0\.0\.1:\d+ +press-7 +- +SHA256:\S+ +\S+Z\n$/,
  );
  await stop(first.agent);

  const second = await startAgent(text);
  expect(second.fingerprint).not.toBe(first.fingerprint);
  const refused = await culvert(stdio('press-7'), user.env, 'secret');
  expect(refused).toMatchObject({ code: 4, stdout: '' });
  expect(refused.stderr).toMatch(
    /^culvert: THE KEY OF press-7 at [^\n]* HAS CHANGED[^\n]*culvert trust forget [^\n]*\n$/,
  );
  const asAdvised = / culvert trust (forget .*)\n$/.exec(refused.stderr)?.[1]?.split(' ') ?? [];
  expect(await culvert(['trust', ...asAdvised], user.env)).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(first.fingerprint),
    stderr: `culvert: forgot the key of press-7 at ${hubName}; its next key is accepted\n`,
  });
  const added = await culvert(['trust', 'add', 'press-7', second.fingerprint, '--output', 'json'], user.env);
  expect(JSON.parse(added.stdout)).toEqual({ ...pin, fingerprint: second.fingerprint });
  expect(await culvert(stdio('press-7'), user.env, 'hello')).toEqual({ code: 0, stdout: 'hello', stderr: '' });
  const raw = await culvert(stdio('press-7', '--raw'), user.env, 'secret');
  expect(raw).toMatchObject({ code: 4, stdout: '', stderr: expect.stringContaining('--allow-unencrypted') });
  expect(await culvert(stdio('press-7', '--raw', '--allow-unencrypted'), user.env, 'x')).toMatchObject({ stdout: 'x' });
  await stop(second.agent);
});

it('an agent lets in only those on its list, by the fingerprint that trust show prints', async () => {
  const text = await hub.createDevice('vault');
  const [anna, eve] = [await newUser(), await newUser()];
  const shown = JSON.parse((await culvert(['trust', 'show', '--output', 'json'], anna.env)).stdout);
  expect(shown).toEqual({
    fingerprint: expect.stringMatching(/^SHA256:.{43}$/),
    keyFile: join(anna.state, 'end-key.pem'),
  });
  expect((await culvert(['trust', 'show'], anna.env)).stdout).toContain(shown.fingerprint);
  const list = join(directory, 'authorized_services');
  writeFileSync(list, `${shown.fingerprint} anna\n`);
  const config = join(directory, 'agent.yaml');
  writeFileSync(config, 'authorizedServices: authorized_services\nendKeyFile: keys/vault.pem\n');
  const { agent } = await startAgent(text, '--config', config);
  expect(existsSync(join(directory, 'keys/vault.pem'))).toBe(true);
  expect(await culvert(stdio('vault'), anna.env, 'open')).toMatchObject({ code: 0, stdout: 'open' });
  const refused = await culvert(stdio('vault'), eve.env, 'open');
  expect(refused).toMatchObject({ code: 4, stdout: '' });
  expect(refused.stderr).toMatch(
    /^culvert: the key of vault, seen for the first time, [^\n]*\nculvert: The key SHA256:\S+ is not among the device's authorised services\.\n$/,
  );
  const raw = await culvert(stdio('vault', '--raw'), eve.env, 'open');
  // Eve has met the key of the device, so her own side refuses first.
  expect(raw).toMatchObject({ code: 4, stderr: expect.stringContaining('--allow-unencrypted') });
  const forced = await culvert(stdio('vault', '--raw', '--allow-unencrypted'), eve.env, 'open');
  expect(forced).toMatchObject({ code: 6, stderr: expect.stringContaining('accepts encrypted sessions only') });
  // `doctor` measures through the session, since raw streams to its echo are refused as well.
  const examined = await culvert(['doctor', 'vault', '--output', 'json'], anna.env);
  expect(examined).toMatchObject({ code: 0, stderr: '' });
  const { checks } = JSON.parse(examined.stdout) as { checks: { name: string; found: string; data?: object }[] };
  const found = (name: string) => checks.find((check) => check.name === name);
  expect(found('stream')).toMatchObject({ status: 'ok', data: { service: 'culvert-echo', bytes: 16_384 } });
  expect(found('session')).toMatchObject({ status: 'ok', data: { kind: 'session', encrypted: 'yes' } });
  expect(found('session')?.found).toMatch(/; the key of the device, SHA256:\S+, is pinned since 20/);
  await stop(agent);
});

it('trust says what it cannot find, and does not take what is no fingerprint', async () => {
  const { env } = await newUser();
  const at = ['--hub', 'Hub.example.com'];
  const missing = await culvert(['trust', 'forget', 'press-7', ...at], env);
  expect(missing).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('no key of press-7 at hub.example.com is pinned'),
  });
  expect(await culvert(['trust', 'add', 'press-7', 'SHA256:x', ...at], env)).toMatchObject({ code: 2, stdout: '' });
  const fingerprint = `SHA256:${'A'.repeat(43)}`;
  const added = await culvert(['trust', 'add', 'press-7', fingerprint, '--module', 'm', ...at], env);
  expect(added.stdout).toMatch(/^Hub +hub\.example\.com\nDevice +press-7\nModule +m\nFingerprint +SHA256:A{43}\nSince/);
  expect((await culvert(['trust', 'show', 'press-7', '--module', 'm', ...at], env)).stdout).toBe(added.stdout);
  expect((await culvert(['trust', 'list', '--hub', 'other'], env)).stdout).not.toContain('press-7');
});

it('where no directory can be made, a user is warned and an agent too, unless it must not go on without a key', async () => {
  const warnings: string[] = [];
  const around = { env: {}, uid: 0, home: '/proc/none', warn: (text: string) => void warnings.push(text) };
  expect(await trustOptions({}, around)).toEqual({
    allowUnencrypted: false,
    allowUnencryptedName: '--allow-unencrypted',
  });
  expect(await openAgentKey(undefined, false, around)).toBeUndefined();
  expect(warnings).toEqual([
    expect.stringMatching(/^warning: cannot write to .*XDG_STATE_HOME names another place$/),
    expect.stringMatching(
      /^warning: the agent has no place for its key \(cannot write to .*\), so nothing is encrypted end to end, .*: give --end-key FILE/,
    ),
  ]);
  await expect(openAgentKey(undefined, true, around)).rejects.toMatchObject({ code: 'config_invalid' });
  await expect(openAgentKey('/proc/none/key.pem', false, around)).rejects.toMatchObject({ code: 'config_invalid' });
  expect(agentDirectory({ ...around, env: { STATE_DIRECTORY: '/var/lib/one:/var/lib/two' } })).toBe('/var/lib/one');
  expect(agentDirectory({ ...around, home: '/home/u' })).toBe('/home/u/.local/state/culvert/agent');
});
