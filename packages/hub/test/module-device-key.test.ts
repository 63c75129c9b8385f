import { once } from 'node:events';
import { DeviceClient } from '@culvert/device';
import {
  type AuthenticationInput,
  formatAuthority,
  formatDeviceConnectionString,
  type Identity,
  identityPath,
  signSasToken,
} from '@culvert/protocol';
import {
  amqpTransport,
  type DeviceUnderTest,
  echoOffer,
  mqttTransport,
  RestCaller,
  startHub,
  type TestHub,
} from '@culvert/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

let hub: TestHub;
beforeAll(async () => {
  hub = await startHub({ config: { mqttListen: '127.0.0.1:0', amqpListen: '127.0.0.1:0' } });
});
afterAll(() => hub.stop());

const MODULE = 'm';
let tests = 0;
let deviceId: string;
/** The primary key of the device. */
let deviceKey: string;
beforeEach(async () => {
  deviceId = `d${++tests}`;
  const { authentication } = await hub.owner.devices.create(deviceId);
  deviceKey = authentication.symmetricKey.primaryKey ?? '';
  await hub.owner.modules.create(deviceId, MODULE);
});

/** Creates a token for `scope` that is signed with the device's key. */
const token = (scope: Identity, key = deviceKey) =>
  signSasToken({
    audience: `${formatAuthority(hub.hostName, hub.port)}/${identityPath(scope)}`,
    key,
    expiry: Math.floor(Date.now() / 1000) + 600,
  });

const otherKey = (byte: number) => Buffer.alloc(32, byte).toString('base64');
const changeDevice = (authentication: AuthenticationInput) => hub.owner.devices.update({ deviceId, authentication });
const changeModule = (authentication: AuthenticationInput) =>
  hub.owner.modules.update({ deviceId, moduleId: MODULE, authentication });

const ENDS: Readonly<Record<string, () => Promise<unknown>>> = {
  'its device is disabled': () => hub.owner.devices.update({ deviceId, status: 'disabled' }),
  'the key of its device is replaced': () => changeDevice({ symmetricKey: { primaryKey: otherKey(7) } }),
  'its device is no more known by keys': () => changeDevice({ type: 'none' }),
  'its device is deleted': () => hub.owner.devices.delete(deviceId),
  'it is no more known by keys itself': () => changeModule({ type: 'certificateAuthority' }),
  'it is deleted': () => hub.owner.modules.delete(deviceId, MODULE),
};

describe.each([
  mqttTransport('TLS', 4),
  mqttTransport('WebSocket', 5),
  amqpTransport('TLS'),
  amqpTransport('TLS', 'PLAIN'),
  amqpTransport('WebSocket'),
  amqpTransport('WebSocket', 'PLAIN'),
])("a module with its device's key over $name", (transport) => {
  const attached: DeviceUnderTest[] = [];
  afterEach(() => {
    for (const device of attached.splice(0)) device.drop();
  });

  async function attach(scope: Identity, identity = scope): Promise<DeviceUnderTest> {
    const device = await transport.attach(hub, identity, { token: await token(scope) });
    attached.push(device);
    return device;
  }

  const attachModule = () => attach({ deviceId, moduleId: MODULE });

  it("is let in, and told as by the device's key", async () => {
    await attachModule();
    expect(await hub.event('device-attached', (event) => event.deviceId === deviceId)).toMatchObject({
      moduleId: MODULE,
      principal: `device:${deviceId}`,
      authentication: 'sas',
    });
  });

  it('is not let in as another module, as the device, or as what is not registered or has no keys', async () => {
    await hub.owner.modules.create(deviceId, 'n');
    await hub.owner.modules.create(deviceId, 'shut', { authentication: { type: 'none' } });
    const module = { deviceId, moduleId: MODULE };
    for (const [scope, identity] of [
      [module, { deviceId, moduleId: 'n' }],
      [module, { deviceId }],
      [{ deviceId }, module],
      [{ deviceId, moduleId: 'nobody' }, undefined],
      [{ deviceId, moduleId: 'shut' }, undefined],
    ] as const)
      await expect(attach(scope, identity ?? scope)).rejects.toMatchObject({ code: 'unauthorized' });
  });

  it.each(Object.keys(ENDS))('is let go when %s, and does not come back', async (what) => {
    await attachModule();
    await ENDS[what]?.();
    const detached = await hub.event('device-detached', (event) => event.deviceId === deviceId);
    expect(detached).toMatchObject({ moduleId: MODULE, error: 'revoked', principal: `device:${deviceId}` });
    await expect(attachModule()).rejects.toMatchObject({ code: 'unauthorized' });
  });
});

describe("a module of the SDK with its device's key", () => {
  async function open(): Promise<DeviceClient> {
    const address = { host: '127.0.0.1', port: hub.port, deviceId, moduleId: MODULE, key: deviceKey };
    const client = DeviceClient.fromConnectionString(formatDeviceConnectionString(address), {
      onStream: echoOffer,
      outbound: hub.outbound,
    });
    await client.open();
    return client;
  }

  it('takes streams, of which the log and the audit record say whose key it was, until that is replaced', async () => {
    const module = await open();
    const stream = await hub.owner.openStream(deviceId, { moduleId: MODULE, name: 's' });
    stream.write('hello');
    expect(String((await once(stream, 'data'))[0])).toBe('hello');
    const torn = once(stream, 'error');
    await changeDevice({ symmetricKey: { primaryKey: otherKey(8) } });
    expect(await torn).toMatchObject([{ code: 'revoked' }]);
    const { record } = await hub.event('stream-ended', (event) => event.record.deviceId === deviceId);
    expect(record).toMatchObject({
      moduleId: MODULE,
      cause: 'revoked',
      answeredBy: { principal: `device:${deviceId}` },
    });
    await module.close();
    await hub.hub.settled();
    const rest = new RestCaller(hub);
    const records = (await rest.call('GET', `/audit?device=${deviceId}`)).body;
    expect(records).toContain(`"answeredBy":{"principal":"device:${deviceId}"`);
    const logs = (await rest.call('GET', `/logs?device=${deviceId}`)).body;
    expect(logs).toContain(`\\"devicePrincipal\\":\\"device:${deviceId}\\"`);
  });

  it('stays when what it did not come with is changed: its own key, the other key or the reason of its device', async () => {
    const module = await open();
    await changeModule({ symmetricKey: { primaryKey: otherKey(3), secondaryKey: otherKey(4) } });
    await changeDevice({ symmetricKey: { secondaryKey: otherKey(5) } });
    await hub.owner.devices.update({ deviceId, statusReason: 'moved' });
    const stream = await hub.owner.openStream(deviceId, { moduleId: MODULE, name: 's' });
    stream.write('hello');
    expect(String((await once(stream, 'data'))[0])).toBe('hello');
    stream.destroy();
    expect(hub.events.some((event) => event.type === 'device-detached' && event.deviceId === deviceId)).toBe(false);
    await module.close();
  });
});

it("reads and writes no module by REST with a token for a module, its device's key or not", async () => {
  const rest = new RestCaller(hub);
  const authorization = await token({ deviceId, moduleId: MODULE });
  for (const [method, path] of [
    ['GET', `/devices/${deviceId}/modules/${MODULE}`],
    ['PUT', `/devices/${deviceId}/modules/${MODULE}`],
    ['DELETE', `/devices/${deviceId}/modules/${MODULE}`],
    ['GET', `/devices/${deviceId}/modules`],
    ['GET', `/devices/${deviceId}`],
  ] as const) {
    const body = method === 'PUT' ? { body: {}, headers: { 'if-match': '*' } } : {};
    expect([method, (await rest.call(method, path, { authorization, ...body })).status]).toEqual([method, 401]);
  }
});
