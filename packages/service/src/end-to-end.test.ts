import { once } from 'node:events';
import { CONTROL_PATH, formatAnswerTopic, formatAuthority, parseOfferTopic, signSasToken } from '@culvert/protocol';
import { dialDuplex, dialStream } from '@culvert/stream';
import { MqttDevice, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ServiceClient } from './service-client.ts';

let hub: TestHub;
let service: ServiceClient;

beforeEach(async () => {
  hub = await startHub();
  service = ServiceClient.fromConnectionString(hub.ownerConnectionString, { outbound: hub.outbound });
});

afterEach(async () => {
  service.close();
  await hub.stop();
});

/** A device made and attached by hand. */
async function attach(deviceId: string): Promise<MqttDevice> {
  const { authentication } = await service.devices.create(deviceId);
  const duplex = await dialDuplex(`wss://127.0.0.1:${hub.port}${CONTROL_PATH}`, {
    outbound: hub.outbound,
    protocols: ['mqtt'],
  });
  const device = new MqttDevice(duplex, 5);
  const host = formatAuthority('127.0.0.1', hub.port);
  const password = await signSasToken({
    audience: `${host}/devices/${deviceId}`,
    key: authentication.symmetricKey.primaryKey ?? '',
    expiry: Math.floor(Date.now() / 1_000) + 600,
  });
  await device.connect(deviceId, { username: `${host}/${deviceId}/`, password: Buffer.from(password) });
  await device.subscribe();
  return device;
}

async function takeOffer(device: MqttDevice) {
  const offer = parseOfferTopic((await device.take('publish')).topic);
  if (offer === undefined) throw new Error('This is no offer.');
  return offer;
}

describe('streams', () => {
  it('reach the device', async () => {
    const device = await attach('d1');
    const opening = service.openStream('d1', { name: 'echo' });
    const offer = await takeOffer(device);
    device.send({
      cmd: 'publish',
      topic: formatAnswerTopic({ requestId: offer.requestId, accepted: true }),
      payload: '',
      qos: 0,
      dup: false,
      retain: false,
    });
    const far = await dialStream(offer, { outbound: hub.outbound });
    const near = await opening;
    near.write('hello');
    expect(String((await once(far, 'data'))[0])).toBe('hello');
    far.destroy();
    const [error] = await once(near.resume(), 'error');
    expect(error).toMatchObject({ code: 'stream_lost' });
    device.connection.destroy();
  });

  it('fail as the hub says', async () => {
    await service.devices.create('offline');
    const now = { name: 'echo', connectTimeoutMs: 0 };
    await expect(service.openStream('nobody', now)).rejects.toMatchObject({ code: 'device_not_found' });
    await expect(service.openStream('offline', now)).rejects.toMatchObject({ code: 'device_offline' });
    await service.devices.update({ deviceId: 'offline', status: 'disabled' });
    await expect(service.openStream('offline', now)).rejects.toMatchObject({ code: 'device_disabled' });
    const wrong = ServiceClient.fromConnectionString(
      hub.ownerConnectionString.replace(/SharedAccessKey=.*/, `SharedAccessKey=${'A'.repeat(43)}=`),
      { outbound: hub.outbound },
    );
    await expect(wrong.openStream('offline', now)).rejects.toMatchObject({ code: 'unauthorized' });
    wrong.close();
  });

  it('are withdrawn when cancelled', async () => {
    const device = await attach('d1');
    const cancel = new AbortController();
    const opening = expect(service.openStream('d1', { name: 'echo', signal: cancel.signal })).rejects.toMatchObject({
      code: 'aborted',
    });
    await takeOffer(device);
    cancel.abort();
    await opening;
    expect((await hub.event('stream-failed')).error).toBe('withdrawn');
    device.connection.destroy();
  });
});

describe('administration', () => {
  it('creates, changes, lists and deletes devices', async () => {
    const { devices } = service;
    const id = "-a$(b);c='d#?%";
    const made = await devices.create(id);
    expect(made).toMatchObject({ deviceId: id, status: 'enabled', connectionState: 'Disconnected' });
    await expect(devices.create(id)).rejects.toMatchObject({ code: 'device_exists' });
    expect(await devices.get(id)).toMatchObject({ deviceId: id, etag: made.etag });
    const changed = await devices.update({ deviceId: id, status: 'disabled' }, { etag: made.etag });
    expect(changed.status).toBe('disabled');
    expect(changed.authentication).toEqual(made.authentication);
    await expect(devices.update({ deviceId: id }, { etag: made.etag })).rejects.toMatchObject({
      code: 'precondition_failed',
    });
    await expect(devices.delete(id, { etag: made.etag })).rejects.toMatchObject({ code: 'precondition_failed' });
    await devices.delete(id, { etag: changed.etag });
    await expect(devices.get(id)).rejects.toMatchObject({ code: 'device_not_found' });
  });

  it('pages through the list', async () => {
    const ids = Array.from({ length: 7 }, (_, index) => `d${index}`);
    for (const id of ids) await service.devices.create(id);
    const first = await service.devices.listPage({ top: 5 });
    expect(first.devices.map(({ deviceId }) => deviceId)).toEqual(ids.slice(0, 5));
    const { continuation } = first;
    const rest = await service.devices.listPage(continuation === undefined ? {} : { continuation });
    expect(rest.devices.map(({ deviceId }) => deviceId)).toEqual(ids.slice(5));
    expect(rest.continuation).toBeUndefined();
    const all: string[] = [];
    for await (const { deviceId } of service.devices.list()) all.push(deviceId);
    expect(all).toEqual(ids);
  });

  it('shows and rotates policies, for the owner alone', async () => {
    const before = await service.policies.get('service');
    const after = await service.policies.rotate('service');
    expect(after.secondaryKey).toBe(before.primaryKey);
    expect((await service.policies.list()).map(({ name }) => name)).toContain('registryReadWrite');
    const other = ServiceClient.fromConnectionString(after.connectionString, { outbound: hub.outbound });
    await expect(other.policies.list()).rejects.toMatchObject({ code: 'forbidden' });
    other.close();
    await expect(service.policies.get('none')).rejects.toMatchObject({ code: 'policy_not_found' });
  });

  it('tells the endpoints', async () => {
    const { hostName, streamingEndpoints } = await service.endpoints();
    expect(hostName).toContain('127.0.0.1');
    expect(streamingEndpoints).toEqual([`https://127.0.0.1:${hub.port}`]);
  });
});
