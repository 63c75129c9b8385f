import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { ServiceClient } from '@culvert/service';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { cOverAmqp, csharpOverAmqp } from './support/azure/amqp-control-channel.ts';
import { overTls, overWebSocket } from './support/azure/byte-link.ts';
import type { OpenControlChannel } from './support/azure/control-channel.ts';
import { parseConnectionString } from './support/azure/credentials.ts';
import { AzureDevice, type AzureDeviceOptions, type DeviceVariant } from './support/azure/device.ts';
import { deviceC } from './support/azure/device-c.ts';
import { DEVICE_CSHARP } from './support/azure/device-csharp.ts';
import { cOverMqtt, csharpOverMqtt } from './support/azure/mqtt-control-channel.ts';
import {
  AzureServiceStream,
  C_SERVICE,
  CSHARP_SERVICE,
  type HttpAnswer,
  NODE_SERVICE,
  requestStream,
} from './support/azure/service.ts';
import { CsharpServiceConnection } from './support/azure/service-amqp.ts';
import { Cleanup } from './support/cleanup.ts';
import { eventually } from './support/eventually.ts';
import { listenLocally } from './support/free-port.ts';
import { HubProcess } from './support/hub-process.ts';
import { startAgent, startConnect } from './support/proxies.ts';

/** The payload size of Azure's own end-to-end test. */
const PAYLOAD_BYTES = 300_000;

const shared = new Cleanup();
const cleanup = new Cleanup();
let hub: HubProcess;
let owner: ServiceClient;
let devices: AzureDevice[];
let ids = 0;

beforeAll(async () => {
  hub = await HubProcess.start(shared, { knownPorts: true });
  owner = hub.owner(shared);
});
afterAll(() => shared.run());
beforeEach(() => {
  devices = [];
});
afterEach(async () => {
  await cleanup.run();
  expect(devices.flatMap(({ crashes }) => crashes)).toEqual([]);
});

/** One of Azure's device clients, and how it connects to the hub. */
interface DeviceClient {
  readonly name: string;
  readonly variant: DeviceVariant;
  readonly control: (connectionString: string) => OpenControlChannel;
}

const transport = (connectionString: string) => ({ hub, device: parseConnectionString(connectionString) });

const C_CLIENTS: readonly DeviceClient[] = [
  {
    name: 'the C device over MQTT',
    variant: deviceC('MQTT'),
    control: (text) => cOverMqtt({ ...transport(text), link: overTls(8883) }),
  },
  {
    name: 'the C device over MQTT in WebSocket',
    variant: deviceC('MQTT'),
    control: (text) => cOverMqtt({ ...transport(text), link: overWebSocket('MQTT') }),
  },
  {
    name: 'the C device over AMQP',
    variant: deviceC('AMQP'),
    control: (text) => cOverAmqp({ ...transport(text), link: overTls(5671) }),
  },
  {
    name: 'the C device over AMQP in WebSocket',
    variant: deviceC('AMQP'),
    control: (text) => cOverAmqp({ ...transport(text), link: overWebSocket('AMQPWSB10') }),
  },
];

const CSHARP_CLIENTS: readonly DeviceClient[] = [
  {
    name: 'the C# device over MQTT',
    variant: DEVICE_CSHARP,
    control: (text) => csharpOverMqtt({ ...transport(text), link: overTls(8883) }),
  },
  {
    name: 'the C# device over MQTT in WebSocket',
    variant: DEVICE_CSHARP,
    control: (text) => csharpOverMqtt({ ...transport(text), link: overWebSocket('mqtt') }),
  },
  {
    name: 'the C# device over AMQP',
    variant: DEVICE_CSHARP,
    control: (text) => csharpOverAmqp({ ...transport(text), link: overTls(5671) }),
  },
  {
    name: 'the C# device over AMQP in WebSocket',
    variant: DEVICE_CSHARP,
    control: (text) => csharpOverAmqp({ ...transport(text), link: overWebSocket('AMQPWSB10') }),
  },
];

/** Registers a device and starts its client, which accepts stream requests. */
async function startDevice(client: DeviceClient, options: Pick<AzureDeviceOptions, 'decide' | 'target'> = {}) {
  const deviceId = `azure-${++ids}`;
  const open = client.control(await hub.createDevice(deviceId));
  const device = await AzureDevice.start(cleanup, hub, { open, variant: client.variant, ...options });
  devices.push(device);
  return { deviceId, device };
}

const wish = (deviceId: string) => ({ deviceId, streamName: 'TestStream', connectTimeout: 30, responseTimeout: 30 });

/** Opens a stream as Azure's service client does: the HTTP request first, then the WebSocket connection. */
async function openAsService(deviceId: string, early?: Buffer): Promise<AzureServiceStream> {
  return AzureServiceStream.open(hub, await requestStream(hub, NODE_SERVICE, wish(deviceId)), early);
}

/** Starts a server on 127.0.0.1 that echoes what it receives and ends the connection when the client ends it. */
function startEchoServer(): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => undefined).pipe(socket));
  return listenLocally(cleanup, server);
}

/** Starts a server on 127.0.0.1 that answers the first bytes it receives and then ends the connection. */
function startBriefServer(): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined).once('data', () => socket.end('all there is'));
  });
  return listenLocally(cleanup, server);
}

/** Sends `payload` through a local proxy and returns the bytes that come back until a clean end. */
async function throughProxy(ports: readonly number[], payload: Buffer): Promise<Buffer> {
  const socket = connect({ port: ports[0] ?? 0, host: '127.0.0.1', allowHalfOpen: true });
  socket.write(payload);
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    parts.push(chunk);
    bytes += chunk.length;
    if (bytes === payload.length) socket.end();
  }
  return Buffer.concat(parts);
}

/** Returns the inner document of Azure's error body. */
function errorOf(answer: HttpAnswer): Record<string, unknown> {
  expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
  const outer: unknown = JSON.parse(answer.body);
  expect(outer).toEqual({ Message: expect.any(String), ExceptionMessage: '' });
  return JSON.parse((outer as { Message: string }).Message);
}

describe.each(C_CLIENTS)('$name', (client) => {
  test("and Azure's service: 300 KB there and back in 64-byte frames", async () => {
    const { deviceId, device } = await startDevice(client);
    const stream = await openAsService(deviceId);
    const payload = randomBytes(PAYLOAD_BYTES);
    stream.send(payload);
    const { data, lengths } = await stream.receive(PAYLOAD_BYTES);
    expect(data.equals(payload)).toBe(true);
    expect(Math.max(...lengths)).toBe(64);
    // The order of events on real devices of this client: the WebSocket opens before the answer is sent.
    expect(device.log.slice(0, 3)).toEqual(['request TestStream', 'websocket open', 'answered true']);
    const echoed = `sec-websocket-protocol: ${client.variant.upgrade({ host: 'h', port: 443, path: '/' }, '').match(/Protocol: (\w+)/)?.[1]}`;
    expect(device.heads[0]?.toLowerCase().split('\r\n')).toContain(echoed.toLowerCase());
  });

  test('is told of every end by a close frame with a code', async () => {
    const { deviceId, device } = await startDevice(client);
    const politely = await openAsService(deviceId);
    politely.send(Buffer.from('x'));
    await politely.receive(1);
    politely.end();
    await eventually('the device to be told', () => device.log.includes('close 1000'));
    const dropping = await openAsService(deviceId);
    dropping.send(Buffer.from('x'));
    await dropping.receive(1);
    dropping.socket.reset();
    await eventually('the device to be told', () => device.log.includes('close 1011 WS disconnected'));
  });

  test('ends a stream by closing TCP, which is its polite end: the service is told 1000', async () => {
    const { deviceId } = await startDevice(client, { target: await startBriefServer() });
    const stream = await openAsService(deviceId);
    stream.send(Buffer.from('x'));
    expect((await stream.receive(12)).data.toString()).toBe('all there is');
    expect(await stream.socket.close()).toEqual({ code: 1000, reason: '' });
  });

  test('loses its power, and the service is told 1011', async () => {
    const { deviceId, device } = await startDevice(client);
    const stream = await openAsService(deviceId);
    device.drop();
    expect((await stream.socket.close())?.code).toBe(1011);
    await eventually(
      'the hub to see it',
      async () => (await owner.devices.get(deviceId)).connectionState === 'Disconnected',
    );
  });

  test('gets new tokens while a stream goes on: over MQTT by connecting again, over AMQP in place', async () => {
    const { deviceId, device } = await startDevice(client);
    const stream = await openAsService(deviceId);
    for (let renewal = 0; renewal < 3; renewal++) {
      await device.renewToken();
      const payload = randomBytes(1_000);
      stream.send(payload);
      expect((await stream.receive(payload.length)).data.equals(payload)).toBe(true);
    }
    const another = await openAsService(deviceId);
    another.send(Buffer.from('new'));
    expect((await another.receive(3)).data.toString()).toBe('new');
  });

  test.each([
    ['answers our Close with an empty one', client.variant],
    ['exits at our Close without a word', { ...client.variant, closeAnswer: Buffer.alloc(0) }],
  ])('and culvert connect: a program behind each, and the device %s', async (_, variant) => {
    const { deviceId } = await startDevice({ ...client, variant }, { target: await startEchoServer() });
    const { ports, program } = await startConnect(cleanup, hub, deviceId, ['TestStream']);
    for (let connection = 0; connection < 2; connection++) {
      const payload = randomBytes(PAYLOAD_BYTES);
      expect((await throughProxy(ports, payload)).equals(payload)).toBe(true);
    }
    await program.waitFor(/(\[[12]\] TestStream ended by the local program, 300000 bytes out, 300000 in[\s\S]*){2}/);
  });

  test("and culvert connect: the device's end by closing TCP is a clean end, after all it had sent", async () => {
    const { deviceId } = await startDevice(client, { target: await startBriefServer() });
    const { ports } = await startConnect(cleanup, hub, deviceId, ['TestStream']);
    const socket = connect({ port: ports[0] ?? 0, host: '127.0.0.1' });
    const parts: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => parts.push(chunk));
    socket.write('x');
    const ended = await once(socket, 'end').catch((error: NodeJS.ErrnoException) => error.code);
    expect([Buffer.concat(parts).toString(), ended]).toEqual(['all there is', []]);
  });

  test("as a module, asked as the C client's own tests ask and by the service SDK", async () => {
    const deviceId = `azure-${++ids}`;
    await hub.createDevice(deviceId);
    const { authentication } = await owner.modules.create(deviceId, 'TestModule');
    const key = authentication.symmetricKey?.primaryKey;
    const open = client.control(`HostName=${hub.host};DeviceId=${deviceId};ModuleId=TestModule;SharedAccessKey=${key}`);
    const device = await AzureDevice.start(cleanup, hub, { open, variant: client.variant });
    devices.push(device);
    const answer = await requestStream(hub, C_SERVICE, { ...wish(deviceId), moduleId: 'TestModule' });
    const stream = await AzureServiceStream.open(hub, answer, Buffer.from('early'));
    expect((await stream.receive(5)).data.toString()).toBe('early');
    const ours = await owner.openStream(deviceId, { moduleId: 'TestModule', name: 'TestStream' });
    ours.write('hello');
    expect(String((await once(ours, 'data'))[0])).toBe('hello');
    await once(ours.end(), 'end');
    // The module is attached and the device itself is not: a request to the device is answered with 404.
    expect((await requestStream(hub, C_SERVICE, { ...wish(deviceId), connectTimeout: 0 })).status).toBe(404);
  });

  test('and the service SDK: accepted, rejected, silent', async () => {
    const { deviceId } = await startDevice(client, {
      decide: ({ streamName }) => (streamName === 'yes' ? 'accept' : streamName === 'no' ? 'reject' : 'ignore'),
    });
    const stream = await owner.openStream(deviceId, { name: 'yes' });
    stream.write('hello');
    expect(String((await once(stream, 'data'))[0])).toBe('hello');
    // The device answers our Close with an empty Close, which makes the end a clean one.
    await once(stream.end(), 'end');
    await expect(owner.openStream(deviceId, { name: 'no' })).rejects.toMatchObject({ code: 'rejected' });
    const silent = owner.openStream(deviceId, { name: 'perhaps', connectTimeoutMs: 0, responseTimeoutMs: 1_000 });
    await expect(silent).rejects.toMatchObject({ code: 'device_silent' });
  });
});

describe.each(CSHARP_CLIENTS)('$name', (client) => {
  test("and Azure's service: what it sends before anybody is there arrives whole", async () => {
    const { deviceId, device } = await startDevice(client);
    const early = randomBytes(PAYLOAD_BYTES);
    const stream = await openAsService(deviceId, early);
    const { data, lengths } = await stream.receive(PAYLOAD_BYTES);
    expect(data.equals(early)).toBe(true);
    expect(Math.max(...lengths)).toBe(10_240);
    expect(device.log).toEqual(['request TestStream', 'answered true', 'websocket open']);
  });

  test('ends a stream by Close 1000', async () => {
    const { deviceId, device } = await startDevice(client, { target: await startBriefServer() });
    const stream = await openAsService(deviceId);
    stream.send(Buffer.from('x'));
    expect((await stream.receive(12)).data.toString()).toBe('all there is');
    expect(await stream.socket.close()).toMatchObject({ code: 1000 });
    stream.end();
    await eventually('the device to get its Close back', () => device.log.includes('close 1000'));
  });

  test('takes no requests once it has unsubscribed, and goes away in words', async () => {
    const { deviceId, device } = await startDevice(client);
    await device.channel.unsubscribe();
    const answer = await requestStream(hub, NODE_SERVICE, { ...wish(deviceId), connectTimeout: 1 });
    expect(answer.status).toBe(404);
    expect(device.log).toEqual([]);
    await device.channel.close();
    await eventually(
      'the hub to see it',
      async () => (await owner.devices.get(deviceId)).connectionState === 'Disconnected',
    );
  });

  test('and culvert connect: a program behind each', async () => {
    const { deviceId } = await startDevice(client, { target: await startEchoServer() });
    const { ports } = await startConnect(cleanup, hub, deviceId, ['TestStream']);
    const payload = randomBytes(PAYLOAD_BYTES);
    expect((await throughProxy(ports, payload)).equals(payload)).toBe(true);
  });
});

describe.each([...C_CLIENTS, ...CSHARP_CLIENTS])("the answer to Azure's service, from $name", (client) => {
  test('rejected: 200 and False, no grant', async () => {
    const { deviceId, device } = await startDevice(client, { decide: () => 'reject' });
    const answer = await requestStream(hub, NODE_SERVICE, wish(deviceId));
    expect(answer.status).toBe(200);
    expect(answer.headers.get('iothub-streaming-is-accepted')).toBe('False');
    expect(answer.headers.has('iothub-streaming-url')).toBe(false);
    expect(answer.headers.has('iothub-streaming-auth-token')).toBe(false);
    expect(answer.body).toBe('');
    expect(device.log).toEqual(['request TestStream', 'answered false']);
  });

  test('silent: 504101 after the response timeout', async () => {
    const { deviceId } = await startDevice(client, { decide: () => 'ignore' });
    const since = Date.now();
    const answer = await requestStream(hub, NODE_SERVICE, { ...wish(deviceId), connectTimeout: 1, responseTimeout: 2 });
    expect(Date.now() - since).toBeGreaterThanOrEqual(1_950);
    expect(answer.status).toBe(504);
    expect(errorOf(answer)).toMatchObject({
      errorCode: 504101,
      trackingId: expect.any(String),
      message: expect.any(String),
      timestampUtc: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    });
  });

  test('offline: held for the connect timeout, and accepted when the device comes within it', async () => {
    const deviceId = `azure-${++ids}`;
    const open = client.control(await hub.createDevice(deviceId));
    const since = Date.now();
    const late = await requestStream(hub, NODE_SERVICE, { ...wish(deviceId), connectTimeout: 2 });
    expect(Date.now() - since).toBeGreaterThanOrEqual(1_950);
    expect(late.status).toBe(404);
    expect(errorOf(late)).toMatchObject({
      errorCode: 404103,
      trackingId: expect.any(String),
      message: expect.any(String),
      timestampUtc: expect.any(String),
    });
    const held = requestStream(hub, NODE_SERVICE, wish(deviceId));
    const device = await AzureDevice.start(cleanup, hub, { open, variant: client.variant });
    devices.push(device);
    expect((await held).headers.get('iothub-streaming-is-accepted')).toBe('True');
  });

  test("asked as the C client's own tests ask, and as the C# service does", async () => {
    const { deviceId } = await startDevice(client);
    const asC = await requestStream(hub, C_SERVICE, {
      ...wish(deviceId),
      streamName: `iothubclient_e2etest_${ids}`,
      connectTimeout: 60,
      responseTimeout: 60,
    });
    expect([asC.status, asC.headers.get('iothub-streaming-is-accepted')]).toEqual([200, 'True']);
    const asCsharp = await requestStream(hub, CSHARP_SERVICE, { ...wish(deviceId), connectTimeout: 1.5 });
    expect([asCsharp.status, asCsharp.headers.get('iothub-streaming-is-accepted')]).toEqual([200, 'True']);
  });
});

describe.each([
  ['the C# service over AMQP', overTls(5671)],
  ['the C# service over AMQP in WebSocket', overWebSocket('AMQPWSB10')],
] as const)('%s', (_name, link) => {
  const open = (policy: string) => CsharpServiceConnection.open(hub, link, hub.policy(policy));

  test('opens, renews its token, has its messages rejected, and opens streams meanwhile', async () => {
    const service = await open('iothubowner');
    cleanup.defer(service, () => service.drop());
    const [first] = CSHARP_CLIENTS;
    if (first === undefined) throw new Error('there is no C# client');
    const { deviceId } = await startDevice(first);
    expect(await service.send(deviceId)).toBe('amqp:not-implemented');
    await service.renewToken();
    const answer = await requestStream(hub, CSHARP_SERVICE, wish(deviceId));
    expect(answer.headers.get('iothub-streaming-is-accepted')).toBe('True');
    await service.close();
  });

  test('is refused with a policy that may not open streams, and ends when its key is rotated away', async () => {
    await expect(open('registryRead')).rejects.toThrow('put-token: 401');
    const service = await open('service');
    for (let rotation = 0; rotation < 2; rotation++) await owner.policies.rotate('service');
    await service.ended;
  });
});

describe("Azure's service and culvert agent --default-service", () => {
  test('a stream of any name reaches the default service, byte for byte', async () => {
    const echo = await startEchoServer();
    await startAgent(cleanup, hub, 'ours', [`echo=127.0.0.1:${echo}`], { args: ['--default-service', 'echo'] });
    for (const streamName of ['TestStream', "un~encoded:name@2,'(it)'*!$;1"]) {
      const answer = await requestStream(hub, NODE_SERVICE, { ...wish('ours'), streamName });
      const payload = randomBytes(PAYLOAD_BYTES);
      const stream = await AzureServiceStream.open(hub, answer, payload);
      expect((await stream.receive(PAYLOAD_BYTES)).data.equals(payload)).toBe(true);
      // ws 3 sends an empty Close; the Close that the hub returns has a code.
      stream.end();
      expect(await stream.socket.close()).toMatchObject({ code: 1000 });
    }
  });

  test('an end of the service behind the agent is a clean one', async () => {
    const server = createServer((socket) => socket.on('error', () => undefined).end('bye'));
    const target = await listenLocally(cleanup, server);
    await startAgent(cleanup, hub, 'ours-too', [`bye=127.0.0.1:${target}`], { args: ['--default-service', 'bye'] });
    const stream = await openAsService('ours-too');
    expect((await stream.receive(3)).data.toString()).toBe('bye');
    expect(await stream.socket.close()).toMatchObject({ code: 1000 });
    stream.end();
  });

  test('without it, a name that is not offered is rejected', async () => {
    await startAgent(cleanup, hub, 'strict', ['ssh=127.0.0.1:22']);
    const answer = await requestStream(hub, NODE_SERVICE, wish('strict'));
    expect([answer.status, answer.headers.get('iothub-streaming-is-accepted')]).toEqual([200, 'False']);
  });
});
