import { once } from 'node:events';
import { parseServiceConnectionString, signSasToken } from '@culvert/protocol';
import type { ServiceClient } from '@culvert/service';
import type { Message, Sender } from 'rhea';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { Cleanup } from './support/cleanup.ts';
import { eventually } from './support/eventually.ts';
import { HubProcess } from './support/hub-process.ts';
import { attachStreams, connectRhea } from './support/rhea.ts';
import { mqttCredentials, seconds } from './support/sas.ts';

const shared = new Cleanup();
const cleanup = new Cleanup();
let hub: HubProcess;
let owner: ServiceClient;
let ids = 0;

beforeAll(async () => {
  hub = await HubProcess.start(shared, { knownPorts: true });
  owner = hub.owner(shared);
});
afterAll(() => shared.run());
afterEach(() => cleanup.run());

/** Registers a device and returns its SASL PLAIN user name and password. */
async function newDevice(): Promise<{ deviceId: string; username: string; password: string }> {
  const deviceId = `rhea-${++ids}`;
  const { password } = await mqttCredentials(await hub.createDevice(deviceId));
  return { deviceId, username: `${deviceId}@sas.${hub.host}`, password };
}

/** Answers a request with a message that has no body, as the C# client does. */
const answer = (answers: Sender, request: Message, accepted: boolean) =>
  answers.send({
    correlation_id: request.correlation_id ?? '',
    application_properties: { 'IoThub-streaming-is-accepted': accepted },
    body: undefined,
  });

test('rhea as a device by SASL PLAIN: accepts, dials its grant, and moves bytes', async () => {
  const { deviceId, ...credentials } = await newDevice();
  const { answers, requests } = await attachStreams(connectRhea(cleanup, hub, credentials), deviceId);
  expect((await owner.devices.get(deviceId)).connectionState).toBe('Connected');
  const opening = owner.openStream(deviceId, { name: 'greeting' });
  opening.catch(() => undefined);
  const request = await eventually('a request', () => requests[0]);
  const properties = request.application_properties ?? {};
  expect(properties['IoThub-streaming-name']).toBe('greeting');
  const socket = new WebSocket(properties['IoThub-streaming-url'], {
    ca: hub.ca,
    headers: { authorization: `Bearer ${properties['IoThub-streaming-auth-token']}` },
  });
  socket.on('message', (data) => socket.send(`heard ${data}`));
  answer(answers, request, true);
  const stream = await opening;
  stream.write('hello');
  expect(String((await once(stream, 'data'))[0])).toBe('heard hello');
  const closed = once(socket, 'close');
  stream.end();
  expect((await closed)[0]).toBe(1000);
});

test('rhea as a device rejects', async () => {
  const { deviceId, ...credentials } = await newDevice();
  const { answers, requests } = await attachStreams(connectRhea(cleanup, hub, credentials), deviceId);
  const rejected = expect(owner.openStream(deviceId, { name: 'greeting' })).rejects.toMatchObject({ code: 'rejected' });
  answer(answers, await eventually('a request', () => requests[0]), false);
  await rejected;
});

test('a policy that may speak for devices, by SASL PLAIN', async () => {
  const { deviceId } = await newDevice();
  const { key, policy } = parseServiceConnectionString(hub.policy('device'));
  const password = await signSasToken({ audience: hub.host, key, policy, expiry: seconds(3600) });
  await attachStreams(connectRhea(cleanup, hub, { username: `${policy}@sas.root.${hub.host}`, password }), deviceId);
  expect((await owner.devices.get(deviceId)).connectionState).toBe('Connected');
});

test('a wrong password, and one for another device, are refused by SASL', async () => {
  const { username } = await newDevice();
  const other = await newDevice();
  for (const password of ['guess', other.password]) {
    const connection = connectRhea(cleanup, hub, { username, password });
    const [{ error }] = await once(connection, 'connection_error');
    expect(error.condition).toBe('amqp:unauthorized-access');
  }
});
