import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { DeviceClient, type DeviceClientOptions } from '@culvert/device';
import { echoOffer, startHub, type TestHub } from '@culvert/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { culvert, startCulvert } from '../culvert.fixture.ts';
import type { Check } from './check.ts';

let hub: TestHub;
let service: NodeJS.ProcessEnv;
let device: NodeJS.ProcessEnv;

beforeAll(async () => {
  hub = await startHub();
  const CULVERT_CA_FILE = join(hub.directory, 'ca.pem');
  service = { CULVERT_CA_FILE, CULVERT_CONNECTION_STRING: await hub.policy('service') };
  device = { CULVERT_CA_FILE, CULVERT_DEVICE_CONNECTION_STRING: await hub.createDevice('press-7') };
});

afterAll(() => hub.stop());

async function examine(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<{ code: number | null; stderr: string; checks: Check[]; statuses: Record<string, string> }> {
  const { code, stdout, stderr } = await culvert(['doctor', ...args, '--output', 'json'], env);
  const { checks } = JSON.parse(stdout) as { checks: Check[] };
  return { code, stderr, checks, statuses: Object.fromEntries(checks.map(({ name, status }) => [name, status])) };
}

const found = (checks: Check[], name: string) => checks.find((check) => check.name === name);

describe('culvert doctor', () => {
  it('measures a stream to the echo of any agent', async () => {
    const web = createServer((socket) => socket.on('error', () => socket.destroy()).resume()).listen(0, '127.0.0.1');
    await once(web, 'listening');
    const { port } = web.address() as AddressInfo;
    const agent = startCulvert(['agent', '--service', `web=${port}`], device);
    await agent.line(/attached to the hub/);
    const { code, checks, statuses } = await examine(['press-7'], service);
    expect(statuses).toEqual({
      proxy: 'ok',
      name: 'ok',
      port: 'ok',
      TLS: 'ok',
      hub: 'ok',
      clock: 'ok',
      credential: 'ok',
      stream: 'ok',
      session: 'ok',
      services: 'ok',
      'service web': 'ok',
    });
    expect(found(checks, 'session')).toMatchObject({
      found: 'streams share a session (version 1), encrypted end to end',
      data: { kind: 'session', version: 1, encrypted: 'yes', sessionId: expect.stringMatching(/^[0-9a-f]{32}$/) },
    });
    expect(found(checks, 'stream')?.data).toMatchObject({ service: 'culvert-echo', bytes: 16_384 });
    // Few bytes, since the user may pay for them.
    const { fromService, fromDevice } = (await hub.event('stream-ended')).record;
    expect(fromService.bytes + fromDevice.bytes).toBeLessThan(65_536);
    const full = await examine(['press-7', '--throughput', '--service', 'web'], service);
    expect(found(full.checks, 'stream')?.data).toMatchObject({ bytes: 8_388_608, bytesPerSecond: expect.any(Number) });
    expect(full).toMatchObject({ code: 0, statuses: { 'service web': 'ok' } });
    expect(found(checks, 'TLS')?.data).toMatchObject({ protocol: 'TLSv1.3', chain: expect.stringContaining('<') });
    expect(code).toBe(0);
    const text = await culvert(['doctor', 'press-7'], service);
    expect(text.stdout).toMatch(/^ok {7}stream {11}'culvert-echo' opened in [\d.]+ ms; round trip [\d.]+ ms/m);
    expect(text.stderr).toBe('culvert: all is well\n');
    web.close();
    // The agent and its echo service work, but the tested service does not.
    const dead = await examine(['press-7'], service);
    expect(found(dead.checks, 'service web')).toMatchObject({
      ...{ status: 'failed', found: expect.stringMatching(/could not be reached on the device/) },
      advice: expect.stringContaining('running on the device'),
    });
    expect(dead.code).not.toBe(0);
    expect(dead.stderr).toMatch(
      /^culvert: service web is where it breaks: .*: nothing listens there \(ECONNREFUSED\)\. Is that .*\n$/,
    );
    const named = await examine(['press-7', '--service', 'web', '--service', 'nothing'], service);
    expect(named.statuses).toMatchObject({ stream: 'ok', 'service web': 'failed', 'service nothing': 'failed' });
    expect(named.code).toBe(6);
    agent.child.kill();
    await agent.ended;
  });

  it('tells a device without an agent from one that cannot be reached', async () => {
    const client = DeviceClient.fromConnectionString(await hub.createDevice('own-program'), {
      onStream: (offer) => (offer.name === 'mine' ? echoOffer(offer) : offer.reject('not mine')),
      outbound: hub.outbound,
    });
    await client.open();
    const { code, statuses, stderr } = await examine(['own-program'], service);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(statuses).toMatchObject({ stream: 'warning', services: 'warning' });
    const text = await culvert(['doctor', 'own-program', '--service', 'mine', '--echo', 'mine'], service);
    expect(text).toMatchObject({ code: 0, stderr: 'culvert: all is well\n' });
    await client.close();
  });

  it.each<[string, Partial<DeviceClientOptions>, string]>([
    ['turned off', { session: false }, 'raw streams: the device offers no sessions'],
    [
      'of another version',
      { session: false, announcement: { session: { lowest: 2, highest: 3, encrypted: false } } },
      'raw streams: the device knows only versions 2 to 3 of the session, which this program does not',
    ],
    [
      'announced and not used',
      { session: false, announcement: { session: { lowest: 1, highest: 1, encrypted: false } } },
      'raw streams: the device offers sessions, but answered without one',
    ],
  ])('measures raw streams where sessions are %s, and says so', async (what, options, text) => {
    const id = `raw-${what.length}`;
    const client = DeviceClient.fromConnectionString(await hub.createDevice(id), {
      ...{ onStream: echoOffer, outbound: hub.outbound },
      ...options,
    });
    await client.open();
    const { code, checks } = await examine([id, '--echo', 'mine', '--service', 'mine'], service);
    expect(code).toBe(0);
    expect(found(checks, 'stream')).toMatchObject({ status: 'ok', data: { bytes: 16_384 } });
    expect(found(checks, 'session')).toMatchObject({
      status: 'warning',
      found: text,
      advice: expect.stringMatching(/./),
    });
    await client.close();
  });

  it('says that nobody asks for the certificate of a device that has one', async () => {
    const text = `HostName=127.0.0.1:${hub.port};DeviceId=by-certificate;x509=true`;
    const { code, checks } = await examine([], { ...device, CULVERT_DEVICE_CONNECTION_STRING: text });
    expect(found(checks, 'certificate')).toMatchObject({
      ...{ status: 'failed', found: expect.stringContaining('does not ask for a certificate anywhere') },
      advice: expect.stringContaining('--client-certificates listen'),
    });
    expect(code).toBe(78);
  });

  it('says from the device’s side what the hub thinks of it, and attaches only when told to', async () => {
    const plain = await examine([], device);
    expect(plain.statuses).toMatchObject({ websocket: 'ok', credential: 'ok' });
    expect(plain.statuses).not.toHaveProperty('control channel');
    const attachments = hub.events.filter((event) => event.type === 'device-attached' && event.deviceId === 'press-7');
    expect(attachments).toHaveLength(1);
    const attached = await examine(['--attach'], device);
    expect(attached).toMatchObject({ code: 0, statuses: { 'control channel': 'ok' } });
  });

  it.each([
    ['a wrong key', Buffer.alloc(32, 9).toString('base64'), 'credential', 4, /not accepted/],
    ['a device that is not there', undefined, 'stream', 69, /isn't online/],
  ] as const)('names %s as where it breaks', async (_what, key, name, exit, message) => {
    const text = service['CULVERT_CONNECTION_STRING'] ?? '';
    const CULVERT_CONNECTION_STRING =
      key === undefined ? text : text.replace(/SharedAccessKey=.*/, `SharedAccessKey=${key}`);
    await hub.owner.devices.create(`absent-${exit}`);
    const { code, checks, stderr } = await examine([`absent-${exit}`], { ...service, CULVERT_CONNECTION_STRING });
    expect(found(checks, name)).toMatchObject({ status: 'failed', found: expect.stringMatching(message), advice: /./ });
    expect(code).toBe(exit);
    expect(stderr).toMatch(new RegExp(`^culvert: ${name} is where it breaks: .*\n$`));
  });

  it('says who signed a certificate that is not trusted', async () => {
    const { CULVERT_CA_FILE: _, ...untrusting } = service;
    const { code, checks, statuses } = await examine([], untrusting);
    expect(found(checks, 'TLS')).toMatchObject({
      status: 'failed',
      found: expect.stringMatching(/signed by '.+'/),
      advice: expect.stringContaining('ca.pem'),
    });
    expect(statuses).toMatchObject({ port: 'ok', hub: 'skipped', clock: 'skipped', credential: 'skipped' });
    expect(code).toBe(69);
  });

  it('works while the hub is not there, or is something else', async () => {
    const other = createServer((socket) =>
      socket
        .on('error', () => socket.destroy())
        .resume()
        .end('220 smtp.example ESMTP\r\n'),
    ).listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const at = (authority: string) => ({
      CULVERT_CONNECTION_STRING: `HostName=${authority};SharedAccessKeyName=service;SharedAccessKey=AAAA`,
    });
    const wrong = await examine([], at(`127.0.0.1:${port}`));
    expect(wrong.statuses).toMatchObject({ port: 'ok', TLS: 'failed' });
    await new Promise((resolve) => other.close(resolve));
    const gone = await examine([], at(`127.0.0.1:${port}`));
    expect(found(gone.checks, 'port')).toMatchObject({ status: 'failed', advice: expect.stringContaining('running') });
    expect(gone).toMatchObject({ code: 69, statuses: { TLS: 'skipped', credential: 'skipped' } });
    const unknown = await examine([], at('no-such-host.invalid'));
    expect(unknown.statuses).toMatchObject({ name: 'failed', port: 'skipped' });
  });

  it('looks at the proxy where one stands between', async () => {
    const { statuses, checks } = await examine([], { ...service, HTTPS_PROXY: 'http://user:secret@127.0.0.1:1' });
    expect(statuses).toMatchObject({ proxy: 'ok', port: 'failed' });
    expect(JSON.stringify(checks)).not.toContain('secret');
  });
});
