import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { CONTROL_PATH, LIMITS } from '@culvert/protocol';
import { isGatewayPath } from '@culvert/protocol/grant';
import { encodePacket, type MqttPacket, PacketReader } from '@culvert/protocol/mqtt';
import { type WebSocket, WebSocketServer } from 'ws';
import { type TestCertificateOptions, testCertificate } from './test-certificate.ts';

/** Hands values from where they arrive to where they are awaited, in order. */
class Mailbox<T> {
  readonly #values: T[] = [];
  readonly #waiting: ((value: T) => void)[] = [];

  put(value: T): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#values.push(value);
    else waiting(value);
  }

  take(): Promise<T> {
    const value = this.#values.shift();
    return value === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(value);
  }

  get size(): number {
    return this.#values.length;
  }
}

/** One device's control channel, played by the test packet by packet. */
export class ScriptedChannel {
  readonly socket: WebSocket;
  /** SHA-256 of the certificate the device showed, upper-case hexadecimal; undefined when it showed none. */
  readonly certificate: string | undefined;
  readonly #packets = new Mailbox<MqttPacket>();
  /** Resolves with the WebSocket's close code. */
  readonly closed: Promise<number>;

  constructor(socket: WebSocket, certificate: string | undefined) {
    this.socket = socket;
    this.certificate = certificate;
    const reader = new PacketReader(LIMITS.mqttPacketBytes);
    socket.on('message', (data: Buffer) => {
      for (const packet of reader.push(data)) this.#packets.put(packet);
    });
    this.closed = new Promise((resolve) => socket.once('close', resolve));
  }

  /** The next packet, which must be of this kind. */
  async take<C extends MqttPacket['cmd']>(cmd: C): Promise<Extract<MqttPacket, { cmd: C }>> {
    const packet = await this.#packets.take();
    if (packet.cmd !== cmd) throw new Error(`The device sent ${packet.cmd} where ${cmd} was due.`);
    return packet as Extract<MqttPacket, { cmd: C }>;
  }

  /** How many packets came that were not taken yet. */
  get unread(): number {
    return this.#packets.size;
  }

  send(packet: MqttPacket): void {
    this.socket.send(encodePacket(packet, 5));
  }

  /** Lets the device in: CONNECT, CONNACK, SUBSCRIBE, SUBACK. Returns the CONNECT. */
  async welcome(): Promise<Extract<MqttPacket, { cmd: 'connect' }>> {
    const connect = await this.take('connect');
    this.send({ cmd: 'connack', reasonCode: 0, sessionPresent: false });
    const { messageId = 0 } = await this.take('subscribe');
    this.send({ cmd: 'suback', messageId, granted: [0] });
    return connect;
  }

  /** Answers CONNECT with a refusal. */
  async refuse(reasonCode: number, reasonString: string): Promise<void> {
    await this.take('connect');
    this.send({ cmd: 'connack', reasonCode, sessionPresent: false, properties: { reasonString } });
    this.socket.close(1000);
  }

  /** Publishes a stream request. */
  publish(topic: string, userProperties: Record<string, string> = {}): void {
    // mqtt-packet makes no packet at all of an empty set of user properties.
    const properties = Object.keys(userProperties).length > 0 ? { userProperties } : {};
    this.send({ cmd: 'publish', topic, payload: '', qos: 0, dup: false, retain: false, properties });
  }

  /** Tells the device to go. */
  disconnect(reasonCode: number, reasonString: string): void {
    this.send({ cmd: 'disconnect', reasonCode, properties: { reasonString } });
    this.socket.close(1000);
  }
}

/** How a {@link ScriptedHub} answers what is not a control channel. */
export interface ScriptedHubOptions {
  /** What its certificate is for; default loopback. */
  readonly certificate?: TestCertificateOptions;
  /** Whether clients are asked for a certificate; any will do, and so will none. */
  readonly requestCertificate?: boolean;
  /** REST; default: 404 with an empty body. */
  readonly onRequest?: (request: IncomingMessage, response: ServerResponse) => void;
  /** A side of a stream has come; default: what it sends is sent back. */
  readonly onStream?: (socket: WebSocket, request: IncomingMessage) => void;
  /** A side of a stream wants to come; it gets no answer. */
  readonly onStreamHeld?: () => void;
}

/** A server that speaks the hub's wire as the test dictates, for what a real hub would never do. */
export class ScriptedHub {
  /** The CA's certificate, PEM. */
  readonly ca: string;
  readonly #server: Server;
  readonly #sockets = new Set<Duplex>();
  readonly #channels = new Mailbox<ScriptedChannel>();

  private constructor(server: Server, ca: string) {
    this.#server = server;
    this.ca = ca;
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  /** Listens on a free port of 127.0.0.1. */
  static async start(options: ScriptedHubOptions = {}): Promise<ScriptedHub> {
    const { ca, cert, key } = await testCertificate(options.certificate);
    const { requestCertificate = false } = options;
    const tls = { cert, key, requestCert: requestCertificate, rejectUnauthorized: false };
    const server = createServer(tls, (request, response) => {
      if (options.onRequest !== undefined) options.onRequest(request, response);
      else response.writeHead(404).end();
    });
    const hub = new ScriptedHub(server, ca);
    const upgrades = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      handleProtocols: (offered) => [...offered][0] ?? false,
    });
    server.on('upgrade', (request, socket, head) => {
      const path = request.url ?? '';
      if (path !== CONTROL_PATH && !isGatewayPath(path)) {
        socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
        return;
      }
      if (path !== CONTROL_PATH && options.onStreamHeld !== undefined) {
        options.onStreamHeld();
        return;
      }
      upgrades.handleUpgrade(request, socket, head, (webSocket) => {
        webSocket.on('error', () => webSocket.terminate());
        if (path === CONTROL_PATH) hub.#channels.put(new ScriptedChannel(webSocket, shownCertificate(socket)));
        else if (options.onStream !== undefined) options.onStream(webSocket, request);
        else webSocket.on('message', (data) => webSocket.send(data));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return hub;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Connections open now, of any kind. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** The next control channel that is opened. */
  channel(): Promise<ScriptedChannel> {
    return this.#channels.take();
  }

  /** Control channels opened that the test did not take. */
  get unclaimedChannels(): number {
    return this.#channels.size;
  }

  deviceConnectionString(deviceId: string, credential = `SharedAccessKey=${KEY}`): string {
    return `HostName=127.0.0.1:${this.port};DeviceId=${deviceId};${credential}`;
  }

  serviceConnectionString(): string {
    return `HostName=127.0.0.1:${this.port};SharedAccessKeyName=service;SharedAccessKey=${KEY}`;
  }

  /** The URL by which a side of a stream comes here. */
  streamUrl(streamId: string, side: 'device' | 'service'): string {
    return `wss://127.0.0.1:${this.port}/bridges/${streamId}/${side}`;
  }

  /** Cuts every connection, without a word. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }
}

/** SHA-256 of the certificate that a client showed, upper-case hexadecimal. */
export function shownCertificate(socket: Duplex): string | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  return socket.getPeerX509Certificate()?.fingerprint256.replaceAll(':', '');
}

/** Base64 of 32 bytes; nothing checks it here. */
const KEY = Buffer.alloc(32, 7).toString('base64');
