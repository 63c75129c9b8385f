import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { CONTROL_PATH, ERRORS } from '@culvert/protocol';
import { webSocketDuplex } from '@culvert/stream';
import {
  AmqpDevice,
  type AmqpSasl,
  amqpDeviceUnderTest,
  controlChannelConformance,
  type DeviceUnderTest,
  devicePrincipal,
  FakeClock,
  type TransportUnderTest,
} from '@culvert/testkit';
import { WebSocket } from 'ws';
import { acceptControlWebSocket } from '../accept-web-socket.ts';
import type { ControlChannel, ControlDeps } from '../control-channel.ts';
import { NO_SERVICES } from '../no-services.fixture.ts';
import { acceptAmqp } from './accept-amqp.ts';

const MAX_OFFERS = 1_000;

interface Variant {
  readonly carrier: 'amqp' | 'amqp-ws';
  readonly sasl: AmqpSasl;
  readonly identity: { readonly deviceId: string; readonly moduleId?: string };
}

const plain = { mechanism: 'PLAIN', response: '\0d1@sas.hub.example\0token' };

for (const [name, variant] of [
  ['a device, by CBS', { carrier: 'amqp', sasl: { mechanism: 'MSSBCBS' }, identity: { deviceId: 'd1' } }],
  ['a device, by PLAIN', { carrier: 'amqp', sasl: plain, identity: { deviceId: 'd1' } }],
  [
    'a module, by CBS',
    { carrier: 'amqp-ws', sasl: { mechanism: 'ANONYMOUS' }, identity: { deviceId: 'd1', moduleId: 'm1' } },
  ],
  ['a device without SASL, by CBS', { carrier: 'amqp-ws', sasl: null, identity: { deviceId: 'd1' } }],
] as const satisfies [string, Variant][]) {
  controlChannelConformance(`${variant.carrier}, ${name}`, () => openTransport(variant));
}

/** Records every channel that attaches, and notifies the test when a channel starts or stops taking offers. */
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
  const server = variant.carrier === 'amqp' ? tcpListener(deps) : webSocketListener(deps);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const connections: Duplex[] = [];
  return {
    clock,
    maxOffers: MAX_OFFERS,
    code: (error) => ERRORS[error].amqp,
    attach: async (options) => {
      expiresAt = options?.expiresAt ?? Number.POSITIVE_INFINITY;
      const connection = dial(variant, port);
      connections.push(connection);
      const device = new AmqpDevice(connection, variant.sasl);
      await device.opened();
      if (variant.sasl?.mechanism !== 'PLAIN') await device.putToken(variant.identity);
      await takeOffers(device, variant, registrar);
      const channel = registrar.attached.at(-1);
      if (channel === undefined) throw new Error('no channel was attached');
      return { channel, device: deviceUnderTest(device, variant, registrar) };
    },
    close: async () => {
      for (const connection of connections) connection.destroy();
      // Let the timeouts of the close handshakes pass.
      await clock.advance(10_000);
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function tcpListener(deps: ControlDeps): Server {
  return createServer((socket) => void acceptAmqp(socket, { remoteAddress: 'test', protocol: 'amqp' }, deps));
}

function webSocketListener(deps: ControlDeps): Server {
  return createHttpServer().on('upgrade', (request, socket, head) => {
    void acceptControlWebSocket(request, socket, head, deps);
  });
}

function dial(variant: Variant, port: number): Duplex {
  if (variant.carrier === 'amqp') return connect(port, '127.0.0.1');
  return webSocketDuplex(new WebSocket(`ws://127.0.0.1:${port}${CONTROL_PATH}`, 'AMQPWSB10'), { pingMs: 0 });
}

async function takeOffers(device: AmqpDevice, { identity }: Variant, registrar: Registrar): Promise<void> {
  const changed = registrar.change();
  await device.attachStreams(identity);
  await changed;
}

function deviceUnderTest(device: AmqpDevice, variant: Variant, registrar: Registrar): DeviceUnderTest {
  return {
    ...amqpDeviceUnderTest(device, variant.identity),
    takeOffers: () => takeOffers(device, variant, registrar),
    refuseOffers: async () => {
      const changed = registrar.change();
      await device.detachStreams();
      await changed;
    },
  };
}
