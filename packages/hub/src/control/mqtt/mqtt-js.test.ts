import { createServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { CONTROL_PATH, CulvertError, LIMITS, parseOfferTopic, STREAM_REQUEST_FILTER } from '@culvert/protocol';
import { systemClock } from '@culvert/stream';
import { devicePrincipal, type TestCertificate, testCertificate } from '@culvert/testkit';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { acceptControlWebSocket } from '../accept-web-socket.ts';
import type { ControlChannel, ControlDeps } from '../control-channel.ts';
import { NO_SERVICES } from '../no-services.fixture.ts';
import { acceptMqtt } from './accept-mqtt.ts';

const OFFER = {
  streamId: '0123456789abcdef0123456789abcdef',
  streamName: 'ssh',
  caller: 'policy:service',
  grant: { url: 'wss://hub.example:8443/bridges/0123456789abcdef0123456789abcdef/device', token: 'eyJ.x.y' },
};

let certificate: TestCertificate;
const cleanup: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  certificate = await testCertificate();
});

afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

async function startListener(carrier: 'mqtts' | 'wss') {
  const subscribed: ((channel: ControlChannel) => void)[] = [];
  let current: ControlChannel | undefined;
  const deps: ControlDeps = {
    authenticate: async ({ identity, token }) => {
      if (token !== 'right') throw new CulvertError('unauthorized', 'No such key.');
      return devicePrincipal(identity);
    },
    services: NO_SERVICES,
    registrar: {
      attach: (channel) => {
        current?.close(new CulvertError('taken_over'));
        current = channel;
      },
      offersChanged: (channel) => {
        for (const resolve of subscribed.splice(0)) resolve(channel);
      },
    },
    clock: systemClock,
    onEvent: () => {},
    limits: {
      authenticateMs: LIMITS.authenticateMs,
      maxPacketBytes: LIMITS.mqttPacketBytes,
      maxOffers: 64,
      maxQueuedBytes: 1_048_576,
    },
  };
  const pair = { cert: certificate.cert, key: certificate.key };
  const server: Server =
    carrier === 'mqtts'
      ? createTlsServer(
          pair,
          (socket) => void acceptMqtt(socket, { remoteAddress: socket.remoteAddress ?? '', protocol: 'mqtt' }, deps),
        )
      : createServer(pair).on(
          'upgrade',
          (request, socket, head) => void acceptControlWebSocket(request, socket, head, deps),
        );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanup.push(() => new Promise((resolve) => server.close(resolve)));
  const { port } = server.address() as AddressInfo;
  const path = carrier === 'wss' ? CONTROL_PATH : '';
  return {
    url: `${carrier}://127.0.0.1:${port}${path}`,
    channel: () => new Promise<ControlChannel>((resolve) => subscribed.push(resolve)),
  };
}

function device(url: string, options: IClientOptions): MqttClient {
  const client = mqtt.connect(url, {
    clientId: 'd1',
    username: 'hub.example/d1/?api-version=2020-09-30',
    password: 'right',
    reconnectPeriod: 0,
    ca: certificate.ca,
    ...options,
  });
  cleanup.push(() => client.endAsync(true));
  return client;
}

describe.each([
  ['mqtts', 4],
  ['mqtts', 5],
  ['wss', 4],
  ['wss', 5],
] as const)('MQTT.js as a device over %s, protocol level %i', (carrier, protocolVersion) => {
  it('connects, receives offers, accepts and rejects', async () => {
    const listener = await startListener(carrier);
    const client = device(listener.url, { protocolVersion });
    client.on('message', (topic) => {
      const offer = parseOfferTopic(topic);
      if (offer === undefined) throw new Error(`not an offer: ${topic}`);
      const accepted = offer.streamName === 'ssh';
      client.publish(`$iothub/streams/res/${accepted ? 200 : 400}/?$rid=${offer.requestId}`, accepted ? '' : 'no', {
        qos: 1,
      });
    });
    const ready = listener.channel();
    expect(await client.subscribeAsync(STREAM_REQUEST_FILTER, { qos: 1 })).toMatchObject([{ qos: 1 }]);
    const channel = await ready;
    const signal = new AbortController().signal;
    expect(await channel.offer(OFFER, signal)).toEqual({ accepted: true });
    expect(await channel.offer({ ...OFFER, streamName: 'rdp' }, signal)).toEqual({ accepted: false, reason: 'no' });
    // Telemetry and twin requests of real programs are accepted and ignored.
    await client.publishAsync('devices/d1/messages/events/', 'telemetry', { qos: 1 });
    await client.subscribeAsync('$iothub/twin/res/#');
    await client.endAsync();
    expect(await channel.closed).toMatchObject({ code: 'device_gone', message: 'The device disconnected.' });
  });

  it('is turned away with a wrong token', async () => {
    const listener = await startListener(carrier);
    const client = device(listener.url, { protocolVersion, password: 'wrong' });
    const error = await new Promise((resolve) => client.once('error', resolve));
    expect(error).toMatchObject({ code: protocolVersion === 5 ? 0x87 : 5 });
  });

  it('is taken over by a newer connection', async () => {
    const listener = await startListener(carrier);
    const first = device(listener.url, { protocolVersion });
    const ready = listener.channel();
    await first.subscribeAsync(STREAM_REQUEST_FILTER);
    const channel = await ready;
    const reasonCodes: (number | undefined)[] = [];
    first.on('disconnect', (packet) => reasonCodes.push(packet.reasonCode));
    const gone = new Promise<void>((resolve) => first.once('close', () => resolve()));
    const second = device(listener.url, { protocolVersion });
    await new Promise((resolve) => second.once('connect', resolve));
    expect(await channel.closed).toMatchObject({ code: 'taken_over' });
    await gone;
    expect(reasonCodes).toEqual(protocolVersion === 5 ? [0x8e] : []);
  });
});
