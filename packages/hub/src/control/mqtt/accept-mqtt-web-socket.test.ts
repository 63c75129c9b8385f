import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { CONTROL_PATH, LIMITS } from '@culvert/protocol';
import { encodePacket, type MqttPacket, PacketReader } from '@culvert/protocol/mqtt';
import { systemClock } from '@culvert/stream';
import { devicePrincipal } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import type { HubEvent } from '../../observe/events.ts';
import { acceptControlWebSocket } from '../accept-web-socket.ts';
import { NO_SERVICES } from '../no-services.fixture.ts';

const CONNECT = encodePacket(
  {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clientId: 'd1',
    clean: true,
    keepalive: 60,
    username: 'hub.example/d1/?api-version=2020-09-30',
    password: Buffer.from('token'),
  },
  4,
);
const PING = Buffer.from([0xc0, 0x00]);

let server: Server;
let url: string;
let events: HubEvent[];
let outcomes: Promise<boolean>[];

beforeEach(async () => {
  events = [];
  outcomes = [];
  server = createServer().on('upgrade', (request, socket, head) => {
    outcomes.push(
      acceptControlWebSocket(request, socket, head, {
        authenticate: async ({ identity }) => devicePrincipal(identity),
        services: NO_SERVICES,
        registrar: { attach: () => {}, offersChanged: () => {} },
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

/** A WebSocket client that collects the packets from the hub. */
function dial(protocols: string[]) {
  const socket = new WebSocket(url, protocols);
  const reader = new PacketReader(LIMITS.mqttPacketBytes, 4);
  const packets: MqttPacket['cmd'][] = [];
  socket.on('message', (data: Buffer) => {
    for (const packet of reader.push(data)) packets.push(packet.cmd);
  });
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  const opened = new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  const received = (count: number) =>
    new Promise<MqttPacket['cmd'][]>((resolve) => {
      const look = () => packets.length >= count && resolve(packets);
      socket.on('message', look);
      look();
    });
  return { socket, closed, opened, received };
}

describe('acceptControlWebSocket', () => {
  it.each([
    [['mqtt'], 'mqtt'],
    [['MQTT'], 'MQTT'],
    [['graphql-ws', 'mqtt'], 'mqtt'],
    [['mqttv3.1', 'MQTT', 'mqtt'], 'MQTT'],
  ])('echoes the subprotocol of %j', async (offered, chosen) => {
    const { socket, closed, opened } = dial(offered);
    await opened;
    expect(socket.protocol).toBe(chosen);
    expect(socket.extensions).toBe('');
    socket.close(1000);
    await closed;
    expect(await Promise.all(outcomes)).toEqual([false]);
    expect(events).toEqual([]);
  });

  it.each([[[]], [['graphql-ws']], [['Mqtt']]])('refuses the upgrade with %j', async (offered: string[]) => {
    await expect(dial(offered).opened).rejects.toThrow('400');
    expect(await Promise.all(outcomes)).toEqual([false]);
    expect(events).toMatchObject([{ type: 'connection-refused', listener: 'mqtt-ws', error: 'argument_invalid' }]);
  });

  it('refuses a broken upgrade', async () => {
    const { port } = server.address() as AddressInfo;
    const socket = connect(port, '127.0.0.1');
    socket.write(
      `GET ${CONTROL_PATH} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: mqtt\r\n` +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n',
    );
    let answer = '';
    for await (const chunk of socket) answer += chunk;
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(await Promise.all(outcomes)).toEqual([false]);
  });

  it('reads packets that span messages and share them', async () => {
    const { socket, closed, opened, received } = dial(['mqtt']);
    await opened;
    for (const byte of CONNECT) socket.send(Buffer.from([byte]));
    socket.send(Buffer.concat([PING, PING, PING.subarray(0, 1)]));
    socket.send(PING.subarray(1));
    expect(await received(4)).toEqual(['connack', 'pingresp', 'pingresp', 'pingresp']);
    expect(await Promise.all(outcomes)).toEqual([true]);
    socket.close(1000);
    expect(await closed).toBe(1000);
  });

  it.each<[string, (socket: WebSocket) => void, number]>([
    ['a text message', (socket) => socket.send('hello'), 1002],
    ['a message beyond the packet size', (socket) => socket.send(Buffer.alloc(LIMITS.mqttPacketBytes + 1)), 1009],
    [
      'an endless message of an unauthenticated client',
      (socket) => socket.send(Buffer.alloc(20_000), { fin: false }),
      1009,
    ],
    ['no MQTT', (socket) => socket.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'.repeat(10))), 1002],
  ])('closes on %s', async (_name, send, code) => {
    const { socket, closed, opened } = dial(['mqtt']);
    await opened;
    send(socket);
    expect(await closed).toBe(code);
    expect(await Promise.all(outcomes)).toEqual([false]);
    expect(events).toMatchObject([{ type: 'connection-refused', listener: 'mqtt-ws' }]);
  });

  it('takes a message of the largest packet from a device that was let in', async () => {
    const { socket, opened, received, closed } = dial(['mqtt']);
    await opened;
    socket.send(CONNECT);
    expect(await received(1)).toEqual(['connack']);
    const payload = Buffer.alloc(200_000);
    socket.send(
      encodePacket({ cmd: 'publish', topic: 't', payload, qos: 1, messageId: 1, retain: false, dup: false }, 4),
    );
    expect(await received(2)).toEqual(['connack', 'puback']);
    socket.close(1000);
    await closed;
  });

  it('closes on a message of very many fragments', async () => {
    const { socket, closed, opened } = dial(['mqtt']);
    await opened;
    for (let i = 0; i < 100; i++) socket.send(Buffer.from([0]), { fin: false });
    expect(await closed).toBe(1008);
  });

  it('survives a broken frame that comes in one piece with the request', async () => {
    const request = [
      `GET ${CONTROL_PATH} HTTP/1.1`,
      'Host: hub.example',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      'Sec-WebSocket-Protocol: mqtt',
    ].join('\r\n');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.on('error', () => undefined).resume();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write(Buffer.concat([Buffer.from(`${request}\r\n\r\n`), Buffer.from([0xff, 0x00])]));
    await closed;
    expect(await Promise.all(outcomes)).toEqual([false]);
    expect(events).toMatchObject([{ type: 'connection-refused', error: 'protocol_error' }]);
  });
});
