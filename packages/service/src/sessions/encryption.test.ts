import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { DeviceClient, type DeviceClientOptions, type SessionEvent } from '@culvert/device';
import { type EndKey, generateEndKey, KnownDevices, parseEndKey } from '@culvert/session/keys';
import { systemClock } from '@culvert/stream';
import { deviceCertificate, SERVER_AUTHENTICATION, startHub, type TestHub, testAuthority } from '@culvert/testkit';
import * as x509 from '@peculiar/x509';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { ServiceClient, type ServiceSessionOptions } from '../service-client.ts';
import type { ServiceSessionEvent } from './session-event.ts';

let hub: TestHub;
let hubName: string;
let directory: string;
let number = 0;
const clients: { close(): unknown }[] = [];

beforeAll(async () => {
  hub = await startHub();
  hubName = `127.0.0.1:${hub.port}`;
  directory = mkdtempSync(join(tmpdir(), 'culvert-encryption-'));
});
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});
afterAll(async () => {
  await hub.stop();
  rmSync(directory, { recursive: true, force: true });
});

const newKey = (): EndKey => parseEndKey(generateEndKey(), 'a test');
const newFile = (): string => join(directory, `file-${++number}`);

/** A device that echoes every connection, and what its sessions told. */
async function startDevice(text: string, session: NonNullable<DeviceClientOptions['session']>) {
  const events: SessionEvent[] = [];
  const device = DeviceClient.fromConnectionString(text, {
    outbound: hub.outbound,
    session: session === false ? false : { ...session, onEvent: (event) => events.push(event) },
    onStream: async (offer) => {
      const stream = await offer.accept();
      stream.on('error', () => undefined).pipe(stream);
    },
  });
  await device.open();
  clients.push(device);
  return { device, events };
}

const sessionId = expect.stringMatching(/^[0-9a-f]{32}$/);
const newDevice = () => `device-${++number}`;

function startService(session: ServiceSessionOptions = {}) {
  const events: ServiceSessionEvent[] = [];
  const service = ServiceClient.fromConnectionString(hub.ownerConnectionString, {
    outbound: hub.outbound,
    session: { ...session, onEvent: (event) => events.push(event) },
  });
  clients.push(service);
  return { service, events };
}

async function echo(stream: Duplex, text: string): Promise<string> {
  clients.push({ close: () => stream.on('error', () => undefined).destroy() });
  stream.write(text);
  const [chunk] = (await once(stream, 'data')) as [Buffer];
  return chunk.toString();
}

/** Whether the hub was told that the device's newest stream is encrypted. */
async function shownEncryption(deviceId: string): Promise<boolean | null | undefined> {
  for await (const { sessionEncrypted } of hub.owner.streams.list({ deviceId })) return sessionEncrypted;
  return undefined;
}

it('is encrypted when the device has a key: the key is pinned at first use, and said', async () => {
  const [id, key, knownDevices, ownKey] = [newDevice(), newKey(), newFile(), newFile()];
  const { events: told } = await startDevice(await hub.createDevice(id), { key });
  const { service, events } = startService({ key: ownKey, knownDevices });
  const stream = await service.openStream(id, { name: 'echo' });
  expect(await echo(stream, 'hello')).toBe('hello');
  const other = await service.openStream(id, { name: 'echo' });
  expect(await echo(other, 'world')).toBe('world');
  expect(await shownEncryption(id)).toBe(true);
  expect(events).toEqual([{ deviceId: id, sessionId, type: 'device-key-pinned', fingerprint: key.fingerprint }]);
  expect(told).toMatchObject([
    { type: 'session-key', fingerprint: key.fingerprint },
    { type: 'session-linked', isFirst: true },
  ]);
  expect(readFileSync(knownDevices, 'utf8')).toContain(`${hubName} ${id} ${key.fingerprint} `);
  for (const file of [knownDevices, ownKey]) expect(statSync(file).mode & 0o777).toBe(0o600);
  // Another client finds the pin.
  const again = startService({ knownDevices });
  expect(await echo(await again.service.openStream(id, { name: 'echo' }), 'again')).toBe('again');
  expect(again.events).toEqual([]);
});

it('without a key of the device says each time that it is not, and the device says once that it has none', async () => {
  const id = newDevice();
  const { events: told } = await startDevice(await hub.createDevice(id), {});
  const { service, events } = startService();
  expect(await echo(await service.openStream(id, { name: 'echo' }), 'hello')).toBe('hello');
  expect(await shownEncryption(id)).toBe(false);
  const text = `The hub offers only an unencrypted session to ${id} at ${hubName}: the hub can read and change what is sent.`;
  expect(events).toEqual([{ deviceId: id, sessionId, type: 'unencrypted', text }]);
  expect(told.filter(({ type }) => type === 'no-session-key')).toHaveLength(1);
});

it('a device that serves no sessions gets a raw stream, which is said each time', async () => {
  const id = newDevice();
  await startDevice(await hub.createDevice(id), false);
  const { service, events } = startService();
  for (let round = 0; round < 2; round++)
    expect(await echo(await service.openStream(id, { name: 'echo' }), 'hello')).toBe('hello');
  const text = expect.stringContaining('offers only a raw stream');
  expect(events).toEqual([1, 2].map(() => ({ deviceId: id, type: 'unencrypted', text })));
});

it('a device with another key than the pinned one is refused, until the pin is forgotten', async () => {
  const [id, first, second, knownDevices] = [newDevice(), newKey(), newKey(), newFile()];
  const text = await hub.createDevice(id);
  const { device } = await startDevice(text, { key: first });
  const before = startService({ knownDevices });
  (await before.service.openStream(id, { name: 'echo' })).destroy();
  await device.close();
  const received: string[] = [];
  const replaced = DeviceClient.fromConnectionString(text, {
    outbound: hub.outbound,
    session: { key: second },
    onStream: async (offer) => {
      received.push(offer.name);
      const stream = await offer.accept();
      stream.on('error', () => undefined).pipe(stream);
    },
  });
  await replaced.open();
  clients.push(replaced);
  const { service } = startService({ knownDevices });
  await expect(service.openStream(id, { name: 'echo' })).rejects.toMatchObject({
    code: 'key_changed',
    message: expect.stringMatching(
      new RegExp(`HAS CHANGED.*Nothing was sent.*culvert trust forget --hub=${hubName} ${id}$`),
    ),
  });
  expect(received).toEqual([]);
  await new KnownDevices(knownDevices, systemClock).forget({ hub: hubName, deviceId: id });
  expect(await echo(await service.openStream(id, { name: 'echo' }), 'hello')).toBe('hello');
});

it('a device with a pin is never reached without encryption, unless that is permitted', async () => {
  const knownDevices = newFile();
  for (const session of [{}, false] as const) {
    const id = newDevice();
    await startDevice(await hub.createDevice(id), session);
    await new KnownDevices(knownDevices, systemClock).add({ hub: hubName, deviceId: id }, newKey().fingerprint);
    const strict = startService({ knownDevices });
    for (const raw of [false, true, false]) {
      await expect(strict.service.openStream(id, { name: 'echo', raw })).rejects.toMatchObject({
        code: 'encryption_required',
        message: expect.stringMatching(/not connected\..*session\.allowUnencrypted\.$/),
      });
    }
    await expect(strict.service.openWebSocket(id, { name: 'echo' })).rejects.toMatchObject({
      code: 'encryption_required',
    });
    const lenient = startService({ knownDevices, allowUnencrypted: true });
    expect(await echo(await lenient.service.openStream(id, { name: 'echo' }), 'hello')).toBe('hello');
    expect(lenient.events).toMatchObject([{ type: 'unencrypted' }]);
  }
});

it('a pin that appears while a device is known to serve no sessions stops its raw streams', async () => {
  const [id, knownDevices] = [newDevice(), newFile()];
  await startDevice(await hub.createDevice(id), false);
  const { service } = startService({ knownDevices });
  (await service.openStream(id, { name: 'echo' })).destroy();
  await new KnownDevices(knownDevices, systemClock).add({ hub: hubName, deviceId: id }, newKey().fingerprint);
  await expect(service.openStream(id, { name: 'echo' })).rejects.toMatchObject({ code: 'encryption_required' });
});

it('a device that lists authorised services tells another key why it is refused, and takes effect without a restart', async () => {
  const [id, known, stranger] = [newDevice(), newKey(), newKey()];
  const list = newFile();
  writeFileSync(list, `${known.fingerprint} anna\n`);
  const { events: told } = await startDevice(await hub.createDevice(id), { key: newKey(), authorizedServices: list });
  const refused = { code: 'key_refused', message: expect.stringContaining(stranger.fingerprint) };
  await expect(startService({ key: stranger }).service.openStream(id, { name: 'echo' })).rejects.toMatchObject(refused);
  await expect(startService().service.openStream(id, { name: 'echo' })).rejects.toMatchObject({ code: 'key_refused' });
  expect(told.slice(1)).toMatchObject([
    { type: 'session-link-refused', caller: 'policy:iothubowner', text: refused.message },
    { type: 'session-link-refused' },
  ]);
  const { service } = startService({ key: known });
  expect(await echo(await service.openStream(id, { name: 'echo' }), 'hello')).toBe('hello');
  writeFileSync(list, `${stranger.fingerprint}\n`);
  const next = startService({ key: stranger });
  expect(await echo(await next.service.openStream(id, { name: 'echo' }), 'hello')).toBe('hello');
});

it.each([{ requireEncryption: true }, { authorizedServices: { fingerprints: new Set<never>(), authorities: [] } }])(
  'a device with %j rejects raw streams and says why, its echo too',
  async (demands) => {
    const id = newDevice();
    const { events: told } = await startDevice(await hub.createDevice(id), { key: newKey(), ...demands });
    for (const name of ['ssh', 'culvert-echo']) {
      await expect(hub.owner.openStream(id, { name, raw: true })).rejects.toMatchObject({
        code: 'rejected',
        message: `The device rejected the stream: '${name}': this device accepts encrypted sessions only, not a raw stream.`,
      });
    }
    expect(told.slice(1)).toMatchObject([{ type: 'unencrypted-refused' }, { type: 'unencrypted-refused' }]);
  },
);

it('a device that demands encryption without a key, or whose files are broken, does not start', async () => {
  const text = await hub.createDevice(newDevice());
  const start = (session: DeviceClientOptions['session']) => startDevice(text, session ?? false);
  await expect(start({ requireEncryption: true })).rejects.toMatchObject({ code: 'argument_invalid' });
  const broken = newFile();
  writeFileSync(broken, 'not a key');
  await expect(start({ key: broken })).rejects.toMatchObject({ code: 'config_invalid' });
  await expect(start({ key: newKey(), authorizedServices: broken })).rejects.toMatchObject({ code: 'config_invalid' });
  const made = newFile();
  await start({ key: made });
  expect(existsSync(made)).toBe(true);
});

it('a file of pins that cannot be read stops the client, and does not let a device in', async () => {
  const [id, knownDevices] = [newDevice(), newFile()];
  await startDevice(await hub.createDevice(id), { key: newKey() });
  writeFileSync(knownDevices, 'not a pin\n');
  const { service } = startService({ knownDevices });
  await expect(service.openStream(id, { name: 'echo' })).rejects.toMatchObject({ code: 'config_invalid' });
});

it('with a fleet authority a device needs no pin, but a certificate that names it', async () => {
  const authority = await testAuthority('fleet');
  const fleetKey = async (deviceId: string): Promise<EndKey> => {
    const name = { type: 'url' as const, value: `culvert:/devices/${deviceId}` };
    const { cert, key } = await deviceCertificate(deviceId, {
      authority,
      usages: [SERVER_AUTHENTICATION],
      extensions: [new x509.SubjectAlternativeNameExtension([name])],
    });
    return parseEndKey(`${key}\n${cert}`, 'a test');
  };
  const [named, other, selfSigned] = [newDevice(), newDevice(), newDevice()];
  await startDevice(await hub.createDevice(named), { key: await fleetKey(named) });
  await startDevice(await hub.createDevice(other), { key: await fleetKey(named) });
  await startDevice(await hub.createDevice(selfSigned), { key: newKey() });
  const file = newFile();
  writeFileSync(file, authority.certificate);
  const knownDevices = newFile();
  const { service, events } = startService({ fleetAuthorities: file, knownDevices });
  expect(await echo(await service.openStream(named, { name: 'echo' }), 'hello')).toBe('hello');
  for (const id of [other, selfSigned])
    await expect(service.openStream(id, { name: 'echo' })).rejects.toMatchObject({ code: 'key_refused' });
  expect(events).toEqual([]);
  expect(existsSync(knownDevices)).toBe(false);
});
