import { randomBytes } from 'node:crypto';
import type { ServiceClient } from '@culvert/service';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { NODE_SERVICE, requestStream } from './support/azure/service.ts';
import { Cleanup } from './support/cleanup.ts';
import { ClientProgram } from './support/client-program.ts';
import { eventually } from './support/eventually.ts';
import { HubProcess } from './support/hub-process.ts';

/** Transports of azure-iot-device, by the names its packages export. */
const TRANSPORTS = ['Mqtt', 'MqttWs', 'Amqp', 'AmqpWs'] as const;
type Transport = (typeof TRANSPORTS)[number];
const isMqtt = (transport: Transport) => transport.startsWith('Mqtt');

/** The error for a request for a twin; over AMQP the SDK wraps it in an error of its own. */
const twinRefusal = (transport: Transport) => {
  const words = expect.stringContaining('This hub carries streams only');
  return { error: isMqtt(transport) ? { message: words } : { message: 'could not get twin', cause: words } };
};

/** The result of sending telemetry: in MQTT 3.1.1 the hub can refuse it only by closing the connection. */
const telemetryOutcome = (transport: Transport) =>
  isMqtt(transport) ? { value: 'MessageEnqueued' } : { error: { name: 'NotImplementedError' } };

/** Seconds for which the hub accepts a token after its expiry. */
const SKEW = 300;

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

/** Registers a device and starts its client, which executes the commands of the test. */
async function startDevice(transport: Transport, env: NodeJS.ProcessEnv = {}) {
  const deviceId = `published-${++ids}`;
  const connectionString = await hub.createDevice(deviceId);
  const client = await startClient(transport, connectionString, env);
  return { deviceId, client, connectionString };
}

function startClient(transport: Transport, connectionString: string, env: NodeJS.ProcessEnv = {}) {
  const all = { TRANSPORT: transport, CONNECTION_STRING: connectionString, ...env };
  return ClientProgram.start(cleanup, hub, 'device.mjs', all);
}

/** Registers a module with a key, and returns its connection string. */
async function addModule(deviceId: string, moduleId: string): Promise<string> {
  const { authentication } = await owner.modules.create(deviceId, moduleId);
  return `HostName=${hub.host};DeviceId=${deviceId};ModuleId=${moduleId};SharedAccessKey=${authentication.symmetricKey?.primaryKey}`;
}

const stateOf = async (deviceId: string) => (await owner.devices.get(deviceId)).connectionState;

/** Returns how often the device's control channel was attached. */
const attachments = (deviceId: string) =>
  hub.program.stderr.split('\n').filter((line) => line.includes('"device-attached"') && line.includes(`"${deviceId}"`))
    .length;

describe.each(TRANSPORTS)('azure-iot-device over %s', (transport) => {
  test('opens, is seen, and closes', async () => {
    const { deviceId, client } = await startDevice(transport);
    expect(await client.ask('open')).toEqual({ value: 'Connected' });
    expect(await stateOf(deviceId)).toBe('Connected');
    expect(await client.ask('close')).toEqual({ value: 'Disconnected' });
    await eventually('the hub to see it', async () => (await stateOf(deviceId)) === 'Disconnected');
    expect(client.events).toEqual([{ event: 'connect' }]);
    expect(await client.end()).toBe(0);
  });

  test('trusts by its own `ca` option', async () => {
    const { client } = await startDevice(transport, { CA_FILE: hub.caFile, NODE_EXTRA_CA_CERTS: '' });
    expect(await client.ask('open')).toEqual({ value: 'Connected' });
    // Over AMQP the client retries for minutes, whatever the reason.
    if (!isMqtt(transport)) return;
    const suspicious = await startDevice(transport, { NODE_EXTRA_CA_CERTS: '' });
    expect((await suspicious.client.ask('open')).error?.message).toMatch(
      /self-signed certificate|unable to (get|verify)/,
    );
  });

  test('stays connected when its tokens run out, by renewing them', async () => {
    // The expiry lies so far in the past that the hub accepts each token for 10 s; the client renews it every 3 s.
    const { deviceId, client } = await startDevice(transport, { RENEWAL: `${10 - SKEW},${7 - SKEW}` });
    const since = Date.now();
    expect(await client.ask('open')).toEqual({ value: 'Connected' });
    await eventually('the first token to run out', () => Date.now() - since > 15_000);
    await eventually('the device to be connected', async () => (await stateOf(deviceId)) === 'Connected');
    // Over MQTT a new token requires a new connection.
    if (isMqtt(transport)) expect(attachments(deviceId)).toBeGreaterThanOrEqual(4);
    else expect(attachments(deviceId)).toBe(1);
    expect(client.events.filter(({ event }) => event !== 'connect')).toEqual([]);
  });

  test('without a renewal it is cut off', async () => {
    const { deviceId, client } = await startDevice(transport, { RENEWAL: `${8 - SKEW},${-100 - SKEW}` });
    expect(await client.ask('open')).toEqual({ value: 'Connected' });
    // The client reports no event about this as long as it has no listeners.
    await eventually('the hub to cut it off', async () => (await stateOf(deviceId)) === 'Disconnected');
  });

  test('comes back by itself when the hub was gone', async () => {
    const { deviceId, client } = await startDevice(transport);
    await client.ask('open');
    expect(await client.ask('listenForMessages')).toEqual({ value: null });
    expect(await client.ask('sendEvent', 'all is well')).toMatchObject(telemetryOutcome(transport));
    await hub.stop('SIGKILL');
    await hub.start();
    await eventually('the device to be back', async () => (await stateOf(deviceId)) === 'Connected', 60_000);
    // The hub may report the device as connected before the client has emitted its event.
    await eventually('the client to tell it', () => client.events.length > 1);
    expect(client.events.map(({ event }) => event)).toEqual(['connect', 'connect']);
  });

  test('a wrong key is UnauthorizedError, at once', async () => {
    const { connectionString } = await startDevice(transport);
    const wrong = connectionString.replace(/(SharedAccessKey)=.*/, `$1=${randomBytes(32).toString('base64')}`);
    const client = await startClient(transport, wrong);
    expect(await client.ask('open')).toMatchObject({ error: { name: 'UnauthorizedError' } });
  });

  test('a second connection takes the place of the first', async () => {
    const { deviceId, client, connectionString } = await startDevice(transport);
    await client.ask('open');
    const second = await startClient(transport, connectionString);
    expect(await second.ask('open')).toEqual({ value: 'Connected' });
    await client.program.stop();
    expect(await second.ask('sendEvent', 'still here')).toMatchObject(telemetryOutcome(transport));
    expect(await stateOf(deviceId)).toBe('Connected');
    expect(attachments(deviceId)).toBe(2);
  });

  test('telemetry, messages and methods do no harm', async () => {
    const { deviceId, client } = await startDevice(transport);
    await client.ask('open');
    expect(await client.ask('sendEvent', 'the temperature')).toMatchObject(telemetryOutcome(transport));
    expect(await client.ask('listenForMethods')).toEqual({ value: null });
    expect(await client.ask('listenForMessages')).toEqual({ value: null });
    expect(await client.ask('sendEvent', 'again')).toMatchObject(telemetryOutcome(transport));
    expect(client.events).toEqual([{ event: 'connect' }]);
    expect(await stateOf(deviceId)).toBe('Connected');
    expect(await client.ask('close')).toEqual({ value: 'Disconnected' });
  });

  test('a twin is refused in words, and nothing hangs', async () => {
    const { deviceId, client } = await startDevice(transport);
    await client.ask('open');
    expect(await client.ask('getTwin')).toMatchObject(twinRefusal(transport));
    expect(await client.ask('updateReported', { temperature: 20 })).toMatchObject(twinRefusal(transport));
    expect(await stateOf(deviceId)).toBe('Connected');
    expect(client.events).toEqual([{ event: 'connect' }]);
    expect(await client.ask('close')).toEqual({ value: 'Disconnected' });
  });

  test('a module opens, is seen, does no harm, and closes', async () => {
    const { deviceId } = await startDevice(transport);
    const connectionString = await addModule(deviceId, 'camera');
    const client = await startClient(transport, connectionString);
    expect(await client.ask('open')).toEqual({ value: 'Connected' });
    const state = async () => (await owner.modules.get(deviceId, 'camera')).connectionState;
    expect(await state()).toBe('Connected');
    expect(await stateOf(deviceId)).toBe('Disconnected');
    expect(await client.ask('getTwin')).toMatchObject(twinRefusal(transport));
    expect(await client.ask('close')).toEqual({ value: 'Disconnected' });
    await eventually('the hub to see it', async () => (await state()) === 'Disconnected');
  });

  test('a request for a stream finds it online and not taking any', async () => {
    const { deviceId, client } = await startDevice(transport);
    await client.ask('open');
    const wish = { deviceId, streamName: 'ssh', connectTimeout: 1, responseTimeout: 30 };
    expect((await requestStream(hub, NODE_SERVICE, wish)).status).toBe(404);
    expect(client.events).toEqual([{ event: 'connect' }]);
  });
});
