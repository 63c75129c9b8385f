import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  CONTROL_PATH,
  CulvertError,
  ERRORS,
  type ErrorCode,
  formatAnswerTopic,
  parseOfferTopic,
  STREAM_REQUEST_FILTER,
} from '@culvert/protocol';
import type { IPublishPacket, MqttVersion } from '@culvert/protocol/mqtt';
import { webSocketDuplex } from '@culvert/stream';
import {
  controlChannelConformance,
  type DeviceUnderTest,
  devicePrincipal,
  FakeClock,
  MqttDevice,
  type TransportUnderTest,
} from '@culvert/testkit';
import { WebSocket } from 'ws';
import { acceptControlWebSocket } from '../accept-web-socket.ts';
import type { ControlChannel, ControlDeps } from '../control-channel.ts';
import { NO_SERVICES } from '../no-services.fixture.ts';
import { acceptMqtt } from './accept-mqtt.ts';

const MAX_OFFERS = 1_000;

interface Variant {
  readonly carrier: 'mqtt' | 'mqtt-ws';
  readonly version: MqttVersion;
  readonly qos: 0 | 1;
}

for (const variant of [
  { carrier: 'mqtt', version: 4, qos: 0 },
  { carrier: 'mqtt', version: 5, qos: 1 },
  { carrier: 'mqtt-ws', version: 4, qos: 1 },
  { carrier: 'mqtt-ws', version: 5, qos: 0 },
] as const satisfies Variant[]) {
  const mqtt = variant.version === 4 ? '3.1.1' : '5';
  controlChannelConformance(`${variant.carrier}, MQTT ${mqtt}, QoS ${variant.qos}`, () => openTransport(variant));
}

/** Records every attached channel, and notifies the test when a channel starts or stops accepting offers. */
class Registrar {
  readonly attached: ControlChannel[] = [];
  #changed: (() => void)[] = [];

  attach(channel: ControlChannel): void {
    this.attached.push(channel);
  }

  offersChanged(): void {
    for (const changed of this.#changed.splice(0)) changed();
  }

  change(): Promise<void> {
    return new Promise((resolve) => this.#changed.push(resolve));
  }
}

async function openTransport(variant: Variant): Promise<TransportUnderTest> {
  const clock = new FakeClock();
  const registrar = new Registrar();
  let expiresAt = Number.POSITIVE_INFINITY;
  const deps: ControlDeps = {
    authenticate: async ({ identity }) => devicePrincipal(identity, { expiresAt }),
    services: NO_SERVICES,
    registrar,
    clock,
    onEvent: () => {},
    limits: { authenticateMs: 10_000, maxPacketBytes: 262_144, maxOffers: MAX_OFFERS, maxQueuedBytes: 4_194_304 },
  };
  const server = variant.carrier === 'mqtt' ? tcpListener(deps) : webSocketListener(deps);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const connections: Duplex[] = [];
  return {
    clock,
    maxOffers: MAX_OFFERS,
    code: (error) => expectedCode(variant, error),
    attach: async (options) => {
      expiresAt = options?.expiresAt ?? Number.POSITIVE_INFINITY;
      const { connection, closeCode } = dial(variant, port);
      connections.push(connection);
      const device = new MqttDevice(connection, variant.version);
      await device.connect('d1');
      const subscribed = registrar.change();
      await device.subscribe(variant.qos);
      await subscribed;
      const channel = registrar.attached.at(-1);
      if (channel === undefined) throw new Error('no channel was attached');
      return { channel, device: deviceUnderTest(device, { variant, registrar, closeCode }) };
    },
    close: async () => {
      for (const connection of connections) connection.destroy();
      // Longer than the timeouts of the close handshakes.
      await clock.advance(10_000);
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function tcpListener(deps: ControlDeps): Server {
  return createServer((socket) => void acceptMqtt(socket, { remoteAddress: 'test', protocol: 'mqtt' }, deps));
}

function webSocketListener(deps: ControlDeps): Server {
  return createHttpServer().on('upgrade', (request, socket, head) => {
    void acceptControlWebSocket(request, socket, head, deps);
  });
}

function dial(variant: Variant, port: number): { connection: Duplex; closeCode: Promise<number | undefined> } {
  if (variant.carrier === 'mqtt')
    return { connection: connect(port, '127.0.0.1'), closeCode: Promise.resolve(undefined) };
  const socket = new WebSocket(`ws://127.0.0.1:${port}${CONTROL_PATH}`, 'mqtt');
  const closeCode = new Promise<number>((resolve) => socket.once('close', resolve));
  return { connection: webSocketDuplex(socket, { pingMs: 0 }), closeCode };
}

/** The next PUBLISH packet; skips PUBACK packets, which acknowledge the device's own QoS 1 packets. */
async function nextPublish(device: MqttDevice): Promise<IPublishPacket> {
  const packet = await device.next();
  return packet.cmd === 'puback' ? nextPublish(device) : (packet as IPublishPacket);
}

/** The code that the device receives: with MQTT 5 the reason code of DISCONNECT, with 3.1.1 over WebSocket the close code, over TLS none. */
function expectedCode(variant: Variant, error: ErrorCode): number | undefined {
  if (variant.version === 5) return ERRORS[error].mqtt5;
  return variant.carrier === 'mqtt-ws' ? ERRORS[error].close : undefined;
}

function deviceUnderTest(
  device: MqttDevice,
  { variant, registrar, closeCode }: { variant: Variant; registrar: Registrar; closeCode: Promise<number | undefined> },
): DeviceUnderTest {
  return {
    nextOffer: async () => {
      const offer = parseOfferTopic((await nextPublish(device)).topic);
      if (offer === undefined) throw new Error('not an offer');
      const { requestId, streamName, url, token } = offer;
      return { requestId, streamName, grant: { url, token } };
    },
    answer: (answer) =>
      device.send({
        cmd: 'publish',
        topic: formatAnswerTopic(answer),
        payload: answer.reason ?? '',
        qos: variant.qos,
        ...(variant.qos === 1 ? { messageId: 9 } : {}),
        dup: false,
        retain: false,
      }),
    takeOffers: async () => {
      const changed = registrar.change();
      await device.subscribe(variant.qos);
      await changed;
    },
    refuseOffers: async () => {
      const changed = registrar.change();
      device.send({ cmd: 'unsubscribe', messageId: 8, unsubscriptions: [STREAM_REQUEST_FILTER] });
      await device.take('unsuback');
      await changed;
    },
    drop: () => device.connection.destroy(new CulvertError('stream_lost')),
    stall: () => device.connection.pause(),
    told: device.over.then(async () => device.disconnectReason ?? (await closeCode)),
  };
}
