import { once } from 'node:events';
import { globSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { parseDeviceConnectionString, parseServiceConnectionString, signSasToken } from '@culvert/protocol';
import { afterEach, expect, it } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { culvert, startCulvert } from './support/culvert.ts';
import { connackCode, IdleDevice, present } from './support/handshake.ts';
import { HubProcess } from './support/hub-process.ts';
import { cleanEnvironment } from './support/program.ts';
import { mqttCredentials, seconds } from './support/sas.ts';
import { Secrets } from './support/secrets.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** The files of a data directory that are meant to hold secrets; every other file in it counts as output. */
const HOLDS_SECRETS = /^(registry\.db.*|policies\/.*|.*key.*\.pem|.*\.key)$/;

/** The form of any token, including those that the SDKs signed for themselves and whose values this test does not have. */
const TOKEN = /eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.|[?& ]sig=(?!\[)[\w%+/]{8,}|SharedAccessKey=[\w+/]{8,}/;

/** Makes one HTTPS request with this credential, and returns the whole response as text. */
async function ask(hub: HubProcess, method: string, path: string, authorization: string): Promise<string> {
  const headers = { authorization };
  const call = request({ host: '127.0.0.1', port: hub.port, ca: hub.ca, agent: false, method, path, headers }).end();
  const [answer] = await once(call, 'response');
  let text = JSON.stringify(answer.headers);
  for await (const part of answer.setEncoding('utf8')) text += part;
  return `${answer.statusCode} ${text}`;
}

/** Starts an HTTP server that collects the bodies of the requests posted to it. */
async function startCollector(bodies: string[]): Promise<string> {
  const server = createServer(async (posted, response) => {
    let body = '';
    for await (const part of posted.setEncoding('utf8')) body += part;
    bodies.push(body);
    response.end('{}');
  }).listen(0, '127.0.0.1');
  cleanup.defer(server, () => server.close());
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

it('no key, token or grant that a run used is in anything it wrote', async () => {
  const posted: string[] = [];
  const collector = await startCollector(posted);
  const audit = { checkpointRecords: 2, checkpoints: { http: `${collector}/checkpoints` } };
  const config = { log: { level: 'debug', format: 'json' }, tracing: { endpoint: collector }, audit };
  const hub = await HubProcess.start(cleanup, { mqtt: true, config });
  const outputs = new Map<string, string>();
  const secrets = new Secrets();

  // Collects the secrets of the run.
  const owner = hub.owner(cleanup);
  for (const { name, primaryKey, secondaryKey } of await owner.policies.list()) {
    secrets.add(`policy ${name}`, primaryKey);
    secrets.add(`policy ${name}, secondary`, secondaryKey);
  }
  const device = await hub.createDevice('press-7');
  const { symmetricKey } = (await owner.devices.get('press-7')).authentication;
  secrets.add('device key', symmetricKey.primaryKey ?? '');
  secrets.add('device key, secondary', symmetricKey.secondaryKey ?? '');
  const wrongKey = Buffer.from('a mistyped key of 32 bytes or so').toString('base64');
  secrets.add('wrong key', wrongKey);
  secrets.add('proxy password', 'pa55word-of-the-proxy');
  for (const path of globSync('**/*.pem', { cwd: hub.dataDir })) {
    const text = readFileSync(join(hub.dataDir, path), 'utf8');
    const [, body] = /PRIVATE KEY-----\n([\s\S]+?)\n-----END/.exec(text) ?? [];
    for (const line of body?.split('\n') ?? []) if (line.length > 30) secrets.add(path, line);
  }

  // Reaches a service through `culvert agent` and `culvert connect`, and runs the commands that an operator uses in the meantime.
  const echo = createTcpServer((socket) => socket.on('error', () => socket.destroy()).pipe(socket)).listen(
    0,
    '127.0.0.1',
  );
  cleanup.defer(echo, () => echo.close());
  await once(echo, 'listening');
  const service = `echo=${(echo.address() as AddressInfo).port}`;
  const agentEnv = { HOME: hub.home, CULVERT_CA_FILE: hub.caFile, CULVERT_DEVICE_CONNECTION_STRING: device };
  const agent = startCulvert(cleanup, ['agent', '--service', service, '--output', 'json'], agentEnv);
  await hub.connected(owner, 'press-7');
  const answers = await culvert(['connect', 'press-7', 'echo', '--stdio'], {
    env: cleanEnvironment({ ...hub.serviceEnv(), CULVERT_DEBUG: '1' }),
    input: 'hello',
  });
  expect(answers.stdout).toBe('hello');
  outputs.set('connect', answers.stderr);
  const commands = [
    ['device', 'list'],
    ['device', 'show', 'press-7'],
    ['policy', 'list'],
    ['audit', 'list'],
    ['audit', 'list', '--output', 'json'],
    ['audit', 'verify'],
    ['device', 'update', 'press-7', '--status', 'enabled', '--output', 'table'],
  ];
  for (const command of commands) {
    const ended = await culvert([...command, '--data-dir', hub.dataDir], { env: cleanEnvironment({ HOME: hub.home }) });
    outputs.set(`culvert ${command.join(' ')}`, `${ended.code} ${ended.stdout}${ended.stderr}`);
  }

  // Provokes the errors that can occur while a program holds a credential.
  const { host, port, deviceId } = parseDeviceConnectionString(device);
  const wrongDevice = `HostName=${host}:${port};DeviceId=${deviceId};SharedAccessKey=${wrongKey}`;
  const proxied = { ...agentEnv, HTTPS_PROXY: 'http://someone:pa55word-of-the-proxy@127.0.0.1:1', CULVERT_DEBUG: '1' };
  const halfAString = { ...agentEnv, CULVERT_DEVICE_CONNECTION_STRING: wrongDevice.replace('DeviceId', 'Id') };
  const ended = await culvert(['agent', '--service', service], { env: cleanEnvironment(halfAString) });
  expect(ended.code).toBeGreaterThan(0);
  outputs.set('agent with half a string', `${ended.stdout}${ended.stderr}`);
  const wrong = { ...agentEnv, CULVERT_DEBUG: '1', CULVERT_DEVICE_CONNECTION_STRING: wrongDevice };
  for (const [name, env, said] of [
    ['agent with a wrong key', wrong, /not attached/],
    ['agent through a proxy', proxied, /not attached.*127\.0\.0\.1:1\b/],
  ] as const) {
    // Both errors may be temporary, so the program keeps retrying.
    const trying = startCulvert(cleanup, ['agent', '--service', service], env);
    await trying.waitFor(said);
    await trying.stop();
    outputs.set(name, `${trying.stdout}${trying.stderr}`);
  }

  const { key, policy } = parseServiceConnectionString(hub.policy('service'));
  const sign = (withKey: string, expiry: number) =>
    signSasToken({ audience: hub.hostName, key: withKey, policy, expiry });
  const tokens = {
    good: await sign(key, seconds(600)),
    wrong: await sign(wrongKey, seconds(600)),
    expired: await sign(key, seconds(-600)),
    bare: wrongKey,
    bearer: `Bearer ${key}`,
  };
  for (const [name, token] of Object.entries(tokens)) {
    secrets.add(`${name} token`, /sig=([^&]+)/.exec(token)?.[1] ?? token.replace('Bearer ', ''));
    for (const path of [
      '/twins/press-7/streams/x',
      `/twins/${encodeURIComponent('nobody')}/streams/x`,
      '/policies/service',
      '/audit',
      '/nothing',
      '/twins/%E0/streams/x',
    ]) {
      outputs.set(`${name} token at ${path}`, await ask(hub, path.startsWith('/twins') ? 'POST' : 'GET', path, token));
    }
  }
  const idle = await IdleDevice.attach(cleanup, hub, 'idle', () => sign(key, seconds(600)));
  const primaryKey = (await owner.devices.get('idle')).authentication.symmetricKey.primaryKey ?? '';
  secrets.add('idle device key', primaryKey);
  const grants = await idle.handshake();
  secrets.add('device grant', grants.device.token);
  secrets.add('service grant', grants.service.token);
  for (const token of [grants.service.token, grants.service.token, `${grants.device.token}x`, wrongKey]) {
    outputs.set(`grant ${outputs.size}`, `${await present(hub, grants.service.url, token)}`);
  }
  const credentials = await mqttCredentials(device);
  secrets.add('MQTT password', /sig=([^&]+)/.exec(credentials.password)?.[1] ?? '');
  for (const password of [credentials.password, wrongKey, primaryKey]) {
    outputs.set(`MQTT ${outputs.size}`, `${await connackCode(hub, { ...credentials, deviceId: 'other', password })}`);
  }
  await owner.policies.rotate('service');
  secrets.add('rotated key', (await owner.policies.get('service')).primaryKey);

  const metrics = await fetch(`http://127.0.0.1:${hub.adminPort}/metrics`, { headers: { connection: 'close' } });
  outputs.set('metrics', await metrics.text());
  outputs.set(
    'command lines',
    [hub.program, agent].map(({ pid }) => readFileSync(`/proc/${pid}/cmdline`, 'utf8')).join('\n'),
  );
  agent.signal('SIGTERM');
  await agent.end();
  outputs.set('agent', `${agent.stdout}${agent.stderr}`);
  await hub.stop();
  outputs.set('hub', `${hub.program.stdout}${hub.program.stderr}`);
  outputs.set('posted', posted.join('\n'));
  for (const path of globSync('**/*', { cwd: hub.dataDir })) {
    const file = join(hub.dataDir, path);
    if (statSync(file).isFile() && !HOLDS_SECRETS.test(path)) outputs.set(path, readFileSync(file, 'latin1'));
  }

  // The searched outputs contain what they are meant to contain.
  expect(outputs.get('hub')).toMatch(/"msg":"stream-ended"[\s\S]*"msg":"hub-stopped"/);
  expect(outputs.get('hub')).toContain('"msg":"grant-refused"');
  expect(outputs.get('agent')).toContain('attached');
  expect(outputs.get('metrics')).toContain('culvert_handshakes_total');
  expect(posted.some((body) => body.includes('resourceSpans'))).toBe(true);
  expect(posted.some((body) => body.includes('culvert-audit-checkpoint'))).toBe(true);
  expect([...outputs.keys()].some((name) => /^audit\/\d{12}-.*\.jsonl$/.test(name))).toBe(true);
  expect(secrets.size).toBeGreaterThan(150);
  expect(secrets.in(`x ${Buffer.from(`u:${wrongKey}`).toString('base64')} y`)).not.toEqual([]);
  // At most one output may contain a grant: the HTTP answer that delivers it.
  const granted = [...outputs].filter(([, text]) => text.includes('iothub-streaming-auth-token'));
  expect(granted.length).toBeLessThanOrEqual(1);

  const found = [...outputs].flatMap(([name, text]) => [
    ...secrets.in(text).map((secret) => `${name}: ${secret}`),
    ...(TOKEN.test(text) && !granted.some(([other]) => other === name) ? [`${name}: ${TOKEN.exec(text)?.[0]}`] : []),
  ]);
  expect(found).toEqual([]);
});
