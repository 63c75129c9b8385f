import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseOfferTopic } from '@culvert/protocol';
import type { ServiceClient } from '@culvert/service';
import { type DeviceCertificate, deviceCertificate, testAuthority } from '@culvert/testkit';
import { connectAsync } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { ClientProgram } from './support/client-program.ts';
import { eventually } from './support/eventually.ts';
import { HubProcess } from './support/hub-process.ts';
import { cleanEnvironment, Program } from './support/program.ts';
import { attachStreams, connectRhea } from './support/rhea.ts';

/** Transports of azure-iot-device, by the names its packages export. */
const TRANSPORTS = ['Mqtt', 'MqttWs', 'Amqp', 'AmqpWs'] as const;
type Transport = (typeof TRANSPORTS)[number];

const shared = new Cleanup();
const cleanup = new Cleanup();
let hub: HubProcess;
let owner: ServiceClient;
let ids = 0;

beforeAll(async () => {
  const clientCertificates = ['listen', 'mqttListen', 'amqpListen'];
  hub = await HubProcess.start(shared, { knownPorts: true, config: { clientCertificates } });
  owner = hub.owner(shared);
});
afterAll(() => shared.run());
afterEach(() => cleanup.run());

/** Starts the client of a device that authenticates with a certificate instead of a key. */
function startClient(transport: Transport, deviceId: string, certificate: DeviceCertificate): Promise<ClientProgram> {
  const { cert, key } = certificateFiles(deviceId, certificate);
  return ClientProgram.start(cleanup, hub, 'device.mjs', {
    TRANSPORT: transport,
    CONNECTION_STRING: `HostName=${hub.host};DeviceId=${deviceId};x509=true`,
    CERT_FILE: cert,
    KEY_FILE: key,
  });
}

/** Writes the certificate and the key to files, for clients that accept only files. */
function certificateFiles(deviceId: string, certificate: DeviceCertificate): { cert: string; key: string } {
  const [cert, key] = ['cert', 'key'].map((name) => join(hub.home, `${deviceId}-${name}.pem`)) as [string, string];
  writeFileSync(cert, certificate.cert);
  writeFileSync(key, certificate.key, { mode: 0o600 });
  return { cert, key };
}

/** The result of a request for a twin; the exact messages are tested with the devices that use keys. */
const TWIN_REFUSED = { error: { name: expect.any(String), message: expect.any(String) } };

const newId = () => `certified-${++ids}`;
const stateOf = async (deviceId: string) => (await owner.devices.get(deviceId)).connectionState;

/** Connects, is shown as connected, requests the unsupported twin, and closes, as a device with a key does. */
async function livesAsADevice(client: ClientProgram, deviceId: string): Promise<void> {
  expect(await client.ask('open')).toEqual({ value: 'Connected' });
  expect(await client.ask('getTwin')).toMatchObject(TWIN_REFUSED);
  expect(await stateOf(deviceId)).toBe('Connected');
  expect(await client.ask('close')).toEqual({ value: 'Disconnected' });
  await eventually('the hub to see it', async () => (await stateOf(deviceId)) === 'Disconnected');
}

describe.each(TRANSPORTS)('azure-iot-device with a certificate over %s', (transport) => {
  test.each(['sha1', 'sha256'] as const)('known by its %s thumbprint, whatever name is in it', async (digest) => {
    const deviceId = newId();
    const certificate = await deviceCertificate('some other name');
    const x509Thumbprint = { primaryThumbprint: certificate[digest], secondaryThumbprint: '' };
    await owner.devices.create(deviceId, { authentication: { type: 'selfSigned', x509Thumbprint } });
    await livesAsADevice(await startClient(transport, deviceId, certificate), deviceId);
  });

  test('known by its authority and its common name', async () => {
    const deviceId = newId();
    const root = await testAuthority(`Root of ${deviceId}`);
    const plant = await testAuthority(`Plant of ${deviceId}`, { issuer: root });
    await owner.authorities.add(`root-${ids}`, root.certificate);
    await owner.devices.create(deviceId, { authentication: { type: 'certificateAuthority' } });
    const certificate = await deviceCertificate(deviceId, { authority: plant });
    await livesAsADevice(await startClient(transport, deviceId, certificate), deviceId);
  });

  test('a long silence after open does no harm', async () => {
    const deviceId = newId();
    const certificate = await deviceCertificate(deviceId);
    const x509Thumbprint = { primaryThumbprint: certificate.sha256, secondaryThumbprint: '' };
    await owner.devices.create(deviceId, { authentication: { type: 'selfSigned', x509Thumbprint } });
    const client = await startClient(transport, deviceId, certificate);
    const since = Date.now();
    expect(await client.ask('open')).toEqual({ value: 'Connected' });
    // Longer than the time in which a connection must authenticate. Over AMQP this client does not authenticate before it attaches a link.
    await eventually('time to pass', () => Date.now() - since > 12_000);
    expect(await client.ask('getTwin')).toMatchObject(TWIN_REFUSED);
    expect(await stateOf(deviceId)).toBe('Connected');
    const isMqtt = transport.startsWith('Mqtt');
    const connects = client.events.filter(({ event }) => event === 'connect').length;
    expect(connects).toBeGreaterThanOrEqual(1);
    expect(connects).toBeLessThanOrEqual(isMqtt ? 1 : 2);
    expect(client.events).toHaveLength(connects);
  });

  test('a certificate that is not the device’s does not come in', async () => {
    const deviceId = newId();
    const right = await deviceCertificate(deviceId);
    const x509Thumbprint = { primaryThumbprint: right.sha256, secondaryThumbprint: '' };
    await owner.devices.create(deviceId, { authentication: { type: 'selfSigned', x509Thumbprint } });
    const client = await startClient(transport, deviceId, await deviceCertificate(deviceId));
    await client.ask('open');
    expect((await client.ask('sendEvent', 'let me in')).error?.name).toBe('UnauthorizedError');
    expect(await stateOf(deviceId)).toBe('Disconnected');
  });

  test('loses its connection with the thumbprint it stands on', async () => {
    const deviceId = newId();
    const certificate = await deviceCertificate(deviceId);
    const x509Thumbprint = { primaryThumbprint: certificate.sha256, secondaryThumbprint: '' };
    await owner.devices.create(deviceId, { authentication: { type: 'selfSigned', x509Thumbprint } });
    const client = await startClient(transport, deviceId, certificate);
    await client.ask('open');
    await client.ask('getTwin');
    expect(await stateOf(deviceId)).toBe('Connected');
    const another = { primaryThumbprint: (await deviceCertificate(deviceId)).sha256, secondaryThumbprint: '' };
    const authentication = { type: 'selfSigned', x509Thumbprint: another } as const;
    await owner.devices.update({ deviceId, authentication });
    await eventually('the hub to cut it off', async () => (await stateOf(deviceId)) === 'Disconnected');
  });
});

describe('other clients with a certificate', () => {
  /** Registers a device with a certificate thumbprint and returns what its clients need to connect; there is no password. */
  async function newDevice() {
    const deviceId = newId();
    const certificate = await deviceCertificate(deviceId);
    const x509Thumbprint = { primaryThumbprint: certificate.sha256, secondaryThumbprint: '' };
    await owner.devices.create(deviceId, { authentication: { type: 'selfSigned', x509Thumbprint } });
    return { deviceId, certificate, username: `${hub.host}/${deviceId}/?api-version=2020-09-30` };
  }

  /** Waits until the client reports an offer, then withdraws the request for the stream. */
  async function getsAnOffer(deviceId: string, offered: () => string | undefined): Promise<void> {
    const withdrawn = new AbortController();
    const opening = owner.openStream(deviceId, { name: 'ssh', signal: withdrawn.signal });
    opening.catch(() => undefined);
    expect(parseOfferTopic(await eventually('an offer', offered))?.streamName).toBe('ssh');
    withdrawn.abort();
    await expect(opening).rejects.toThrow();
  }

  test("Mosquitto's, over MQTT", async () => {
    const { deviceId, certificate, username } = await newDevice();
    const files = certificateFiles(deviceId, certificate);
    const args = [
      ...['-h', hub.host, '-p', '8883', '--cafile', hub.caFile, '--cert', files.cert, '--key', files.key],
      ...['-V', 'mqttv311', '-i', deviceId, '-u', username, '-d', '-t', '$iothub/streams/POST/#', '-F', 'topic %t'],
    ];
    // mosquitto_sub buffers its output by blocks when it does not write to a terminal; stdbuf makes it buffer by lines.
    const sub = new Program('stdbuf', ['-oL', 'mosquitto_sub', ...args], { env: cleanEnvironment({ HOME: hub.home }) });
    cleanup.defer(sub, () => sub.stop());
    await sub.waitFor(/Subscribed/);
    await getsAnOffer(deviceId, () => /^topic (\S+)/m.exec(sub.stdout)?.[1]);
  });

  test.each(['mqtts', 'wss'] as const)('MQTT.js over %s', async (scheme) => {
    const { deviceId, certificate, username } = await newDevice();
    const url = scheme === 'wss' ? `wss://${hub.hostName}/$iothub/websocket` : `mqtts://${hub.host}:8883`;
    const { cert, key } = certificate;
    const client = await connectAsync(url, { clientId: deviceId, username, ca: hub.ca, cert, key });
    cleanup.defer(client, () => client.endAsync(true));
    const topics: string[] = [];
    client.on('message', (topic) => topics.push(topic));
    await client.subscribeAsync('$iothub/streams/POST/#');
    await getsAnOffer(deviceId, () => topics[0]);
  });

  test.each([
    ['SASL EXTERNAL, as the C# client', true],
    ['no SASL, as the C client', false],
  ])('rhea over AMQP by %s', async (_, external) => {
    const { deviceId, certificate } = await newDevice();
    const { cert, key } = certificate;
    const connection = connectRhea(cleanup, hub, { cert, key, enable_sasl_external: external });
    const { requests } = await attachStreams(connection, deviceId);
    expect(await stateOf(deviceId)).toBe('Connected');
    const withdrawn = new AbortController();
    const opening = owner.openStream(deviceId, { name: 'ssh', signal: withdrawn.signal });
    opening.catch(() => undefined);
    const request = await eventually('a request', () => requests[0]);
    expect(request.application_properties?.['IoThub-streaming-name']).toBe('ssh');
    withdrawn.abort();
    await expect(opening).rejects.toThrow();
  });
});

test('a client without a certificate is not bothered by being asked for one', async () => {
  const registry = await ClientProgram.start(cleanup, hub, 'registry.mjs', {
    CONNECTION_STRING: hub.policy('registryReadWrite'),
  });
  expect(await registry.ask('call', 'list')).toMatchObject({ value: { status: 200 } });
  const client = await ClientProgram.start(cleanup, hub, 'device.mjs', {
    TRANSPORT: 'Mqtt',
    CONNECTION_STRING: await hub.createDevice('with-a-key'),
  });
  expect(await client.ask('open')).toEqual({ value: 'Connected' });
});
