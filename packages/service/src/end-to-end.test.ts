import { once } from 'node:events';
import * as https from 'node:https';
import { TLSSocket } from 'node:tls';
import { CONTROL_PATH, formatAnswerTopic, formatAuthority, parseOfferTopic, signSasToken } from '@culvert/protocol';
import { dialDuplex, dialStream } from '@culvert/stream';
import { MqttDevice, startHub, type TestHub, testAuthority } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
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

/** Registers a device and attaches it with a {@link MqttDevice}, which the test controls. */
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

function answer(device: MqttDevice, requestId: string, accepted: boolean): void {
  const topic = formatAnswerTopic({ requestId, accepted });
  device.send({ cmd: 'publish', topic, payload: '', qos: 0, dup: false, retain: false });
}

describe('streams', () => {
  it('reach the device', async () => {
    const device = await attach('d1');
    const opening = service.openStream('d1', { name: 'echo' });
    const offer = await takeOffer(device);
    answer(device, offer.requestId, true);
    const far = await dialStream(offer, { outbound: hub.outbound });
    const near = await opening;
    near.write('hello');
    expect(String((await once(far, 'data'))[0])).toBe('hello');
    far.destroy();
    const [error] = await once(near.resume(), 'error');
    expect(error).toMatchObject({ code: 'stream_lost' });
    device.connection.destroy();
  });

  it('lead to the gateway by a connection that is made while the hub asks the device', async () => {
    const device = await attach('d1');
    const make = vi.spyOn(https.Agent.prototype, 'createConnection');
    const opening = service.openStream('d1', { name: 'echo' });
    const offer = await takeOffer(device);
    // The REST request used an existing keep-alive connection, so only one new connection was opened.
    expect(make).toHaveBeenCalledTimes(1);
    answer(device, offer.requestId, true);
    const near = await opening;
    expect(make).toHaveBeenCalledTimes(1);
    near.destroy();
    // If the device rejects the offer, the connection that was opened ahead is closed.
    const refused = expect(service.openStream('d1', { name: 'echo' })).rejects.toMatchObject({ code: 'rejected' });
    const second = await takeOffer(device);
    expect(make).toHaveBeenCalledTimes(2);
    answer(device, second.requestId, false);
    await refused;
    const unused = make.mock.results[1]?.value;
    expect(unused instanceof TLSSocket && unused.destroyed).toBe(true);
    make.mockRestore();
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

  it('creates devices of every type of authentication, and changes it', async () => {
    const { devices } = service;
    const thumbprint = 'ab'.repeat(32);
    const pinned = await devices.create('pinned', {
      authentication: { x509Thumbprint: { primaryThumbprint: thumbprint } },
    });
    expect(pinned.authentication).toEqual({
      type: 'selfSigned',
      symmetricKey: { primaryKey: null, secondaryKey: null },
      x509Thumbprint: { primaryThumbprint: thumbprint.toUpperCase(), secondaryThumbprint: null },
    });
    const issued = await devices.create('issued', { authentication: { type: 'certificateAuthority' } });
    expect(issued.authentication.type).toBe('certificateAuthority');
    const keyed = await devices.update({ deviceId: 'issued', authentication: { type: 'sas' } });
    expect(keyed.authentication.symmetricKey.primaryKey).toHaveLength(44);
    const shut = await devices.update({ deviceId: 'issued', authentication: { type: 'none' } });
    expect(shut.authentication.symmetricKey.primaryKey).toBeNull();
  });

  it('creates, changes, lists and deletes modules', async () => {
    const { devices, modules } = service;
    await expect(modules.create('d', 'm')).rejects.toMatchObject({ code: 'device_not_found' });
    await devices.create('d');
    await expect(modules.get('d', 'm')).rejects.toMatchObject({ code: 'module_not_found' });
    const made = await modules.create('d', 'm', { managedBy: 'me' });
    expect(made).toMatchObject({ deviceId: 'd', moduleId: 'm', managedBy: 'me', connectionState: 'Disconnected' });
    await expect(modules.create('d', 'm')).rejects.toMatchObject({ code: 'module_exists' });
    const changed = await modules.update({ deviceId: 'd', moduleId: 'm', managedBy: null }, { etag: made.etag });
    expect(changed).toMatchObject({ managedBy: null, authentication: made.authentication });
    const stale = modules.update({ deviceId: 'd', moduleId: 'm' }, { etag: made.etag });
    await expect(stale).rejects.toMatchObject({ code: 'precondition_failed' });
    await modules.create('d', 'a', { authentication: { type: 'none' } });
    expect((await modules.list('d')).map(({ moduleId }) => moduleId)).toEqual(['a', 'm']);
    await modules.delete('d', 'a');
    await expect(modules.delete('d', 'a')).rejects.toMatchObject({ code: 'module_not_found' });
    await devices.delete('d');
    await expect(modules.list('d')).rejects.toMatchObject({ code: 'device_not_found' });
  });

  it('adds, shows, lists and removes certificate authorities', async () => {
    const { authorities } = service;
    const { certificate } = await testAuthority('Plant 7');
    const added = await authorities.add('plant-7', certificate);
    expect(added).toMatchObject({ name: 'plant-7', subject: 'CN=Plant 7' });
    expect(await authorities.get('plant-7')).toEqual(added);
    expect(await authorities.list()).toEqual([added]);
    await expect(authorities.add('x', 'x')).rejects.toMatchObject({ code: 'argument_invalid' });
    await authorities.remove('plant-7');
    await expect(authorities.get('plant-7')).rejects.toMatchObject({ code: 'authority_not_found' });
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
