import { once } from 'node:events';
import { LIMITS, parseDeviceConnectionString, parseServiceConnectionString, signSasToken } from '@culvert/protocol';
import { encodePacket } from '@culvert/protocol/mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { Cleanup } from './support/cleanup.ts';
import { eventually } from './support/eventually.ts';
import { connackCode, IdleDevice, present, type RawHandshake } from './support/handshake.ts';
import { HubProcess } from './support/hub-process.ts';
import { cleanEnvironment, run } from './support/program.ts';
import { seconds } from './support/sas.ts';

/** Seconds: a little more than the clock skew that the hub allows. */
const BEYOND_SKEW = 330;

const cleanup = new Cleanup();
let hub: HubProcess;
/** Keys by device id or policy name. */
const keys: Record<string, string> = {};
let device: IdleDevice;
/** Grants created before the first test. They grow old while the other tests create and use theirs. */
let early: RawHandshake & { at: number };

beforeAll(async () => {
  hub = await HubProcess.start(cleanup, { mqtt: true });
  for (const id of ['d1', 'd2']) keys[id] = parseDeviceConnectionString(await hub.createDevice(id)).key ?? '';
  for (const name of ['iothubowner', 'service', 'device', 'registryRead', 'registryReadWrite']) {
    keys[name] = parseServiceConnectionString(hub.policy(name)).key;
  }
  device = await IdleDevice.attach(cleanup, hub, 'idle', () => token({ key: 'service', policy: 'service' }));
  early = { ...(await device.handshake()), at: Date.now() };
});
afterAll(() => cleanup.run());

/** Returns a token whose parts may contradict each other. */
function token(of: { key: string; path?: string; host?: string; policy?: string; expiry?: number }): Promise<string> {
  const { key, path = '', host = hub.hostName, policy, expiry = seconds(3600) } = of;
  return signSasToken({ audience: `${host}${path}`, key: keys[key] ?? key, expiry, ...(policy && { policy }) });
}

/** Makes one request with curl, with or without a credential, and returns the status and Azure's error name. */
async function curl(method: string, path: string, authorization: string | undefined, body?: string) {
  const args = ['-sS', '--max-time', '20', '--path-as-is', '--cacert', hub.caFile, '-X', method, '-o', '/dev/null'];
  if (authorization !== undefined) args.push('-H', `Authorization: ${authorization}`);
  if (body !== undefined) args.push('-H', 'Content-Type: application/json', '-d', body);
  const format = '%{http_code} %header{iothub-errorcode}';
  const shown = await run('curl', [...args, '-w', format, `https://${hub.hostName}${path}`], {
    env: cleanEnvironment(),
  });
  expect(shown.code, shown.stderr).toBe(0);
  return shown.stdout.trim();
}

const UNAUTHORIZED = '401 IotHubUnauthorizedAccess';

/** Credentials that no listener accepts for device d1. */
const BAD_SAS: Record<string, () => Promise<string | undefined>> = {
  'no token': async () => undefined,
  'an empty token': async () => '',
  'something else': async () => 'Basic cm9vdDpyb290',
  'a scheme and nothing': async () => 'SharedAccessSignature ',
  'an unknown field': async () => `${await token({ key: 'iothubowner', policy: 'iothubowner' })}&admin=true`,
  'a field twice': async () => `${await token({ key: 'iothubowner', policy: 'iothubowner' })}&se=9999999999`,
  'a broken escape': async () => 'SharedAccessSignature sr=%ZZ&sig=%&se=1',
  'a wrong key': async () => token({ key: Buffer.alloc(32, 7).toString('base64'), policy: 'iothubowner' }),
  "another policy's key": async () => token({ key: 'registryRead', policy: 'iothubowner' }),
  'an unknown policy': async () => token({ key: 'iothubowner', policy: 'nobody' }),
  'a policy key without its name': async () => token({ key: 'iothubowner' }),
  'a later expiry than signed': async () =>
    (await token({ key: 'iothubowner', policy: 'iothubowner' })).replace(/se=\d+/, 'se=9999999999'),
  'a wider audience than signed': async () => (await token({ key: 'd1', path: '/devices/d2' })).replace(/d2&/, 'd1&'),
  expired: async () => token({ key: 'iothubowner', policy: 'iothubowner', expiry: seconds(-BEYOND_SKEW) }),
  "another hub's": async () => token({ key: 'iothubowner', policy: 'iothubowner', host: 'hub.example' }),
  "a host that begins like the hub's name": async () =>
    token({ key: 'iothubowner', policy: 'iothubowner', host: '127.0.0.1.example' }),
  "another device's": async () => token({ key: 'd2', path: '/devices/d2' }),
  "another device's key for d1": async () => token({ key: 'd2', path: '/devices/d1' }),
  'too long': async () => `SharedAccessSignature sr=${'a'.repeat(5_000)}&sig=YQ%3D%3D&se=${seconds(3600)}`,
};

describe.each(Object.keys(BAD_SAS))('a SAS token that is bad: %s', (kind) => {
  const bad = BAD_SAS[kind] as () => Promise<string | undefined>;

  test('opens no REST listener', async () => {
    const authorization = await bad();
    for (const [method, path, body] of [
      ['GET', '/devices/d1'],
      ['GET', '/devices'],
      ['PUT', '/devices/d3', '{"deviceId":"d3"}'],
      ['DELETE', '/devices/d1'],
      ['POST', '/twins/d1/streams/ssh'],
      ['POST', '/twins/nobody/streams/ssh'],
      ['GET', '/statistics/devices'],
      ['GET', '/policies/iothubowner'],
      ['POST', '/policies/iothubowner/rotate'],
    ] as const) {
      const status = await curl(method, path, authorization, body);
      expect(status, `${method} ${path}`).toMatch(
        kind === 'expired' ? /^401 IotHubUnauthorized$/ : new RegExp(UNAUTHORIZED),
      );
    }
  });

  test('attaches no device', async () => {
    const password = await bad();
    const credentials = {
      deviceId: 'd1',
      username: `${hub.hostName}/d1/?api-version=2020-09-30`,
      ...(password === undefined ? {} : { password }),
    };
    expect(await connackCode(hub, credentials)).toBe(5);
    const socket = new WebSocket(`wss://${hub.hostName}/$iothub/websocket`, 'mqtt', { ca: hub.ca });
    socket.on('error', () => undefined);
    await once(socket, 'open');
    socket.send(
      encodePacket(
        {
          ...({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 30 } as const),
          clientId: 'd1',
          username: credentials.username,
          ...(password === undefined ? {} : { password: Buffer.from(password) }),
        },
        4,
      ),
    );
    const [answer] = (await once(socket, 'message')) as [Buffer];
    expect([...answer]).toEqual([0x20, 2, 0, 5]);
    await once(socket, 'close');
  });
});

describe('a good SAS token of the wrong kind', () => {
  const good = (policy: string) => token({ key: policy, policy });

  test.each([
    ['service', 'GET', '/devices/d1'],
    ['service', 'PUT', '/devices/d9'],
    ['service', 'GET', '/policies'],
    ['device', 'POST', '/twins/d1/streams/ssh'],
    ['device', 'GET', '/devices'],
    ['registryRead', 'POST', '/twins/d1/streams/ssh'],
    ['registryRead', 'PUT', '/devices/d9'],
    ['registryRead', 'DELETE', '/devices/d1'],
    ['registryReadWrite', 'POST', '/twins/d1/streams/ssh'],
    ['registryReadWrite', 'POST', '/policies/service/rotate'],
  ] as const)('%s may not %s %s', async (policy, method, path) => {
    const body = method === 'PUT' ? '{"deviceId":"d9"}' : undefined;
    expect(await curl(method, path, await good(policy), body)).toBe(UNAUTHORIZED);
  });

  test("a device's own key opens no other listener", async () => {
    const own = await token({ key: 'd1', path: '/devices/d1' });
    for (const [method, path] of [
      ['POST', '/twins/d1/streams/ssh'],
      ['GET', '/devices/d2'],
      ['GET', '/devices'],
      ['DELETE', '/devices/d1'],
    ] as const) {
      expect(await curl(method, path, own), `${method} ${path}`).toBe(UNAUTHORIZED);
    }
  });

  test('policies without DeviceConnect attach no device; device may speak for any', async () => {
    const attempt = async (policy: string) =>
      connackCode(hub, {
        deviceId: 'd1',
        username: `${hub.hostName}/d1/?api-version=2020-09-30`,
        password: await token({ key: policy, policy, path: '/devices/d1' }),
      });
    expect(await attempt('service')).toBe(5);
    expect(await attempt('registryReadWrite')).toBe(5);
    expect(await attempt('device')).toBe(0);
  });

  test("a token's user name and client id must name the same device", async () => {
    const password = await token({ key: 'd1', path: '/devices/d1' });
    const username = (id: string) => `${hub.hostName}/${id}/?api-version=2020-09-30`;
    expect(await connackCode(hub, { deviceId: 'd2', username: username('d2'), password })).toBe(5);
    expect(await connackCode(hub, { deviceId: 'd2', username: username('d1'), password })).not.toBe(0);
    expect(await connackCode(hub, { deviceId: 'd1', username: username('d1'), password })).toBe(0);
  });
});

test('what the good ones open, so that the refusals above mean something', async () => {
  const owner = await token({ key: 'iothubowner', policy: 'iothubowner' });
  expect(await curl('GET', '/devices/d1', owner)).toBe('200');
  expect(await curl('GET', '/policies/iothubowner', owner)).toBe('200');
  expect(await curl('GET', '/devices', await token({ key: 'registryRead', policy: 'registryRead' }))).toBe('200');
  const late = await token({ key: 'iothubowner', policy: 'iothubowner', expiry: seconds(-120) });
  expect(await curl('GET', '/devices/d1', late), 'within the clock skew').toBe('200');
  const service = await token({ key: 'service', policy: 'service' });
  expect(await curl('POST', '/twins/nobody/streams/ssh', service)).toBe('404 DeviceNotFound');
});

describe('a grant', () => {
  const bearer = (text: string) => `Bearer ${text}`;
  /** Returns the token with one part replaced. */
  const forged = (text: string, part: 0 | 1 | 2, change: (part: string) => string) =>
    text
      .split('.')
      .map((value, index) => (index === part ? change(value) : value))
      .join('.');
  const claims = (text: string) =>
    JSON.parse(Buffer.from(text.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>;
  const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

  test.each<[string, (of: RawHandshake, other: RawHandshake) => string | undefined]>([
    ['absent', () => undefined],
    ['an empty bearer', () => 'Bearer '],
    ['not a token', () => bearer('let-me-in')],
    ['without the scheme', ({ device: { token: text } }) => text],
    ["the other side's", ({ service }) => bearer(service.token)],
    ["another stream's", (_, other) => bearer(other.device.token)],
    ['cut', ({ device: { token: text } }) => bearer(text.slice(0, -10))],
    [
      'with a claim changed',
      ({ device: { token: text } }) => bearer(forged(text, 1, () => encoded({ ...claims(text), exp: 9e9 }))),
    ],
    [
      'with its signature changed',
      ({ device: { token: text } }) =>
        bearer(forged(text, 2, (part) => (part.startsWith('A') ? `B${part.slice(1)}` : `A${part.slice(1)}`))),
    ],
    [
      'unsigned',
      ({ device: { token: text } }) =>
        bearer(
          forged(
            forged(text, 0, () => encoded({ alg: 'none', typ: 'JWT' })),
            2,
            () => '',
          ),
        ),
    ],
    [
      'signed by a shared secret',
      ({ device: { token: text } }) => bearer(forged(text, 0, () => encoded({ alg: 'HS256', typ: 'JWT' }))),
    ],
    ['too long', ({ device: { token: text } }) => bearer(text + 'A'.repeat(2_000))],
  ])('that is %s opens no stream, and spoils none', async (_, make) => {
    const [of, other] = [await device.handshake(), await device.handshake()];
    expect(await present(hub, of.device.url, make(of, other))).toBe(401);
    // The true bearer can still connect: the attempts above did not use up the token.
    expect(await present(hub, of.device.url, bearer(of.device.token))).toBe(101);
  });

  test('is not a SAS token, nor is a SAS token a grant', async () => {
    const { service } = await device.handshake();
    expect(await present(hub, service.url, await token({ key: 'iothubowner', policy: 'iothubowner' }))).toBe(401);
    expect(await curl('GET', '/devices/d1', bearer(service.token))).toBe(UNAUTHORIZED);
  });

  test.each(['device', 'service'] as const)('of the %s is good once', async (side) => {
    const grant = (await device.handshake())[side];
    expect(await present(hub, grant.url, bearer(grant.token))).toBe(101);
    expect(await present(hub, grant.url, bearer(grant.token))).toBe(401);
  });

  test.each([
    '/bridges/',
    '/bridges/../../etc/passwd',
    `/bridges/${'0'.repeat(32)}/both`,
    `/bridges/${'0'.repeat(32)}/device/x`,
  ])('is looked at only at its own path, not at %s', async (path) => {
    const { device: grant } = await device.handshake();
    const shown = await present(hub, `https://${hub.hostName}${path}`, bearer(grant.token));
    expect([400, 401, 404]).toContain(shown);
  });

  test('is good until it expires, a minute after the request', async () => {
    const expiresAt = Number(claims(early.service.token)['exp']) * 1000;
    expect(expiresAt - early.at).toBeLessThanOrEqual(LIMITS.handshakeMs);
    await eventually('the grant to expire', () => Date.now() > expiresAt + 50, LIMITS.handshakeMs);
    expect(await present(hub, early.service.url, bearer(early.service.token))).toBe(401);
    expect(await present(hub, early.device.url, bearer(early.device.token))).toBe(401);
  });

  // This test is the last one because it restarts the hub.
  test('does not outlive the hub that gave it', async () => {
    const [unused, used] = [await device.handshake(), await device.handshake()];
    expect(await present(hub, used.service.url, bearer(used.service.token))).toBe(101);
    await hub.stop('SIGKILL');
    await hub.start();
    for (const grant of [unused.service, unused.device, used.service, used.device]) {
      expect(await present(hub, grant.url, bearer(grant.token))).toBe(401);
    }
  });
});
