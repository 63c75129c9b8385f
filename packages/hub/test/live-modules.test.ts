import { once } from 'node:events';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { parseServiceConnectionString, signSasToken } from '@culvert/protocol';
import { MqttDevice, startHub, type TestHub } from '@culvert/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';

let test: TestHub;
let device: MqttDevice;

const inAMinute = () => Math.floor(Date.now() / 1_000) + 60;

async function put(path: string): Promise<string> {
  const { key, policy } = parseServiceConnectionString(test.ownerConnectionString);
  const authorization = await signSasToken({ audience: `127.0.0.1:${test.port}`, key, policy, expiry: inAMinute() });
  const options = { host: '127.0.0.1', port: test.port, ca: test.ca, method: 'PUT', path, headers: { authorization } };
  const [response] = await once(httpsRequest(options).end('{}'), 'response');
  return text(response);
}

beforeAll(async () => {
  test = await startHub({ config: { mqttListen: '127.0.0.1:0' } });
  await test.createDevice('d');
  const { authentication } = JSON.parse(await put('/devices/d/modules/m'));
  const audience = `127.0.0.1:${test.port}/devices/d/modules/m`;
  const key = authentication.symmetricKey.primaryKey;
  const token = await signSasToken({ audience, key, expiry: inAMinute() });
  device = new MqttDevice(connect({ host: '127.0.0.1', port: test.hub.mqttAddress?.port ?? 0, ca: test.ca }), 5);
  await device.connect('d/m', { username: `127.0.0.1:${test.port}/d/m/?api-version=x`, password: Buffer.from(token) });
  await device.subscribe();
});
afterAll(async () => {
  device.connection.destroy();
  await test.stop();
});

it('a module is there while its device is not, and its streams are its own', async () => {
  const { devices, streams } = test.owner;
  const asked = test.owner.openStream('d', { name: 'x', moduleId: 'm' }).catch((error: unknown) => error);
  await device.take('publish');
  expect(await devices.presence('d', 'm')).toMatchObject({
    ...{ deviceId: 'd', moduleId: 'm', online: true, protocol: 'mqtt', principal: 'module:d/m' },
    ...{ takesOffers: true, streams: 1, last: null },
  });
  expect(await devices.presence('d')).toMatchObject({ moduleId: null, online: false, streams: 0 });

  const found = async (filter: object) => {
    const list = [];
    for await (const { deviceId, moduleId, state } of streams.list(filter)) list.push({ deviceId, moduleId, state });
    return list;
  };
  const shown = [{ deviceId: 'd', moduleId: 'm', state: 'offered' }];
  expect(await found({ deviceId: 'd', moduleId: 'm' })).toEqual(shown);
  expect(await found({ deviceId: 'd' })).toEqual(shown);
  expect(await found({ deviceId: 'd', moduleId: 'n' })).toEqual([]);

  const followed = devices.subscribeToPresence('d');
  expect((await followed.next()).value).toMatchObject({ event: 'online', data: { moduleId: 'm' } });
  expect((await followed.next()).value).toMatchObject({ event: 'ready' });
  const { streamId } = await test.event('stream-offered');
  await streams.close(streamId);
  expect(await asked).toMatchObject({ code: 'closed_by_administrator' });

  device.connection.destroy();
  expect((await followed.next()).value).toMatchObject({
    ...{ event: 'offline' },
    data: { moduleId: 'm', online: false, last: { error: 'device_gone', protocol: 'mqtt' } },
  });
  await followed.return();
});
