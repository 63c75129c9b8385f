import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CONTROL_PATH, CulvertError, LIMITS } from '@culvert/protocol';
import { systemClock, webSocketDuplex } from '@culvert/stream';
import { AmqpDevice, amqpFrames, amqpHeader, amqpRawFrame, devicePrincipal } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import type { HubEvent } from '../../observe/events.ts';
import { acceptControlWebSocket } from '../accept-web-socket.ts';
import type { ControlChannel } from '../control-channel.ts';
import { NO_SERVICES } from '../no-services.fixture.ts';

let server: Server;
let url: string;
let events: HubEvent[];
let channels: ControlChannel[];
let outcomes: Promise<boolean>[];

beforeEach(async () => {
  events = [];
  channels = [];
  outcomes = [];
  server = createServer().on('upgrade', (request, socket, head) => {
    outcomes.push(
      acceptControlWebSocket(request, socket, head, {
        authenticate: async ({ identity }) => devicePrincipal(identity),
        services: NO_SERVICES,
        registrar: { attach: (channel) => channels.push(channel), offersChanged: () => {} },
        clock: systemClock,
        onEvent: (event) => events.push(event),
        limits: {
          authenticateMs: LIMITS.authenticateMs,
          maxPacketBytes: LIMITS.mqttPacketBytes,
          maxOffers: 64,
          maxQueuedBytes: 1_048_576,
        },
      }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}${CONTROL_PATH}`;
});

afterEach(async () => {
  await Promise.all(outcomes);
  await new Promise((resolve) => server.close(resolve));
});

function dial(protocols: string[]) {
  const socket = new WebSocket(url, protocols);
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  const opened = new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  return { socket, closed, opened };
}

describe('a control channel over WebSocket', () => {
  it.each([
    [['AMQPWSB10'], 'AMQPWSB10', 'amqp-ws'],
    [['amqp'], 'amqp', 'amqp-ws'],
    [['AMQPWSB10', 'mqtt'], 'AMQPWSB10', 'amqp-ws'],
    [['mqtt', 'AMQPWSB10'], 'mqtt', 'mqtt-ws'],
    [['x', 'MQTT', 'amqp'], 'MQTT', 'mqtt-ws'],
  ])('speaks what was offered first of %j', async (offered, chosen, listener) => {
    const { socket, closed, opened } = dial(offered);
    await opened;
    expect([socket.protocol, socket.extensions]).toEqual([chosen, '']);
    socket.send('text');
    expect(await closed).toBe(1002);
    expect(await Promise.all(outcomes)).toEqual([false]);
    expect(events).toMatchObject([{ type: 'connection-refused', listener, error: 'protocol_error' }]);
  });

  it.each([[[]], [['amqpwsb10']], [['Mqtt', 'AMQP']]])('refuses the upgrade with %j', async (offered: string[]) => {
    await expect(dial(offered).opened).rejects.toThrow('400');
    expect(await Promise.all(outcomes)).toEqual([false]);
    expect(events).toMatchObject([{ type: 'connection-refused', error: 'argument_invalid' }]);
  });

  it('reads AMQP frames that span messages and share them, and pings nobody', async () => {
    const { socket, closed, opened } = dial(['AMQPWSB10']);
    let pings = 0;
    socket.on('ping', () => pings++);
    await opened;
    const { open, begin, attach, transfer, putToken, close } = amqpFrames;
    const conversation = [
      ...[amqpHeader(0), open(), begin(), attach(0, 'sends', '$cbs')],
      ...[transfer(0, 0, putToken('hub.example/devices/d1')), amqpRawFrame(Buffer.alloc(0))],
    ];
    const bytes = Buffer.concat(conversation);
    for (const byte of bytes.subarray(0, 20)) socket.send(Buffer.of(byte));
    socket.send(bytes.subarray(20, 100));
    socket.send(bytes.subarray(100));
    expect(await Promise.all(outcomes)).toEqual([true]);
    expect(channels).toMatchObject([{ identity: { deviceId: 'd1' }, protocol: 'amqp-ws' }]);
    socket.send(close());
    expect(await closed).toBe(1000);
    expect(pings).toBe(0);
  });

  it('is offline at once when the device drops', async () => {
    const { socket } = dial(['AMQPWSB10']);
    const device = new AmqpDevice(webSocketDuplex(socket, { pingMs: 0 }));
    await device.opened();
    await device.putToken({ deviceId: 'd1' });
    socket.terminate();
    expect(await channels[0]?.closed).toMatchObject({ code: 'device_gone' });
  });

  it('tells by its close code, too, why a channel ends', async () => {
    const { socket, closed } = dial(['AMQPWSB10']);
    const device = new AmqpDevice(webSocketDuplex(socket, { pingMs: 0 }));
    await device.opened();
    await device.putToken({ deviceId: 'd1' });
    channels[0]?.close(new CulvertError('taken_over'));
    expect(await closed).toBe(4409);
    expect(device.closeCondition).toBe('amqp:link:stolen');
  });

  it.each<[string, (socket: WebSocket) => void, number]>([
    ['a message longer than a frame may be', (socket) => socket.send(Buffer.alloc(65_537)), 1009],
    ['no AMQP', (socket) => socket.send(Buffer.from('GET / HTTP/1.1\r\n\r\n')), 1002],
    ['very many fragments', (socket) => fragments(socket), 1008],
  ])('closes on %s', async (_name, send, code) => {
    const { socket, closed, opened } = dial(['AMQPWSB10']);
    await opened;
    send(socket);
    expect(await closed).toBe(code);
    expect(await Promise.all(outcomes)).toEqual([false]);
    expect(events).toMatchObject([{ type: 'connection-refused', listener: 'amqp-ws' }]);
  });
});

function fragments(socket: WebSocket): void {
  for (let count = 0; count < 100; count++) socket.send(Buffer.of(0), { fin: false });
}
