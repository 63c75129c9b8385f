import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { CONTROL_PATH, LIMITS } from '@culvert/protocol';
import { isGatewayPath } from '@culvert/protocol/grant';
import { encodePacket, type MqttPacket, PacketReader } from '@culvert/protocol/mqtt';
import { destroyConnection } from '@culvert/stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { type TestCertificateOptions, testCertificate } from './test-certificate.ts';

/** A queue of values. A caller can wait for the next value before it is put. */
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

/** The hub's end of one device's control channel, which a test controls packet by packet. */
export class ScriptedChannel {
  readonly socket: WebSocket;
  /** SHA-256 of the certificate that the device presented, upper-case hexadecimal; undefined if it presented none. */
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

  /** Resolves with the next packet. @throws Error if the packet is of another kind */
  async take<C extends MqttPacket['cmd']>(cmd: C): Promise<Extract<MqttPacket, { cmd: C }>> {
    const packet = await this.#packets.take();
    if (packet.cmd !== cmd) throw new Error(`The device sent ${packet.cmd} where ${cmd} was due.`);
    return packet as Extract<MqttPacket, { cmd: C }>;
  }

  /** Number of received packets that the test has not taken yet. */
  get unread(): number {
    return this.#packets.size;
  }

  send(packet: MqttPacket): void {
    this.socket.send(encodePacket(packet, 5));
  }

  /** Accepts the device: takes CONNECT and SUBSCRIBE, and sends CONNACK and SUBACK. Returns the CONNECT. */
  async welcome(): Promise<Extract<MqttPacket, { cmd: 'connect' }>> {
    const connect = await this.take('connect');
    this.send({ cmd: 'connack', reasonCode: 0, sessionPresent: false });
    const { messageId = 0 } = await this.take('subscribe');
    this.send({ cmd: 'suback', messageId, granted: [0] });
    return connect;
  }

  /** Answers the CONNECT with a CONNACK that refuses the connection. */
  async refuse(reasonCode: number, reasonString: string): Promise<void> {
    await this.take('connect');
    this.send({ cmd: 'connack', reasonCode, sessionPresent: false, properties: { reasonString } });
    this.socket.close(1000);
  }

  /** Publishes a message, such as a stream request. */
  publish(topic: string, userProperties: Record<string, string> = {}): void {
    // mqtt-packet generates no packet if the user properties are an empty object.
    const properties = Object.keys(userProperties).length > 0 ? { userProperties } : {};
    this.send({ cmd: 'publish', topic, payload: '', qos: 0, dup: false, retain: false, properties });
  }

  /** Sends DISCONNECT and closes the connection. */
  disconnect(reasonCode: number, reasonString: string): void {
    this.send({ cmd: 'disconnect', reasonCode, properties: { reasonString } });
    this.socket.close(1000);
  }
}

/** The certificate of a {@link ScriptedHub}, and how it answers requests that are not for a control channel. */
export interface ScriptedHubOptions {
  /** Names and validity of the hub's certificate; default loopback. */
  readonly certificate?: TestCertificateOptions;
  /** Whether clients are asked for a certificate. Any certificate is accepted, and so is none. */
  readonly requestCertificate?: boolean;
  /** Answers an HTTP request; default: 404 with an empty body. */
  readonly onRequest?: (request: IncomingMessage, response: ServerResponse) => void;
  /** Called when a side of a stream has connected; default: received messages are sent back. */
  readonly onStream?: (socket: WebSocket, request: IncomingMessage) => void;
  /** Called instead of `onStream` when a side of a stream requests an upgrade; the request is left unanswered. */
  readonly onStreamHeld?: () => void;
}

/** A server that speaks the hub's wire protocol under the control of a test, for behaviour that a real hub never shows. */
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

  /** Number of open connections of any kind. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Resolves with the next control channel that a device opens. */
  channel(): Promise<ScriptedChannel> {
    return this.#channels.take();
  }

  /** Number of opened control channels that the test has not taken. */
  get unclaimedChannels(): number {
    return this.#channels.size;
  }

  deviceConnectionString(deviceId: string, credential = `SharedAccessKey=${KEY}`): string {
    return `HostName=127.0.0.1:${this.port};DeviceId=${deviceId};${credential}`;
  }

  serviceConnectionString(): string {
    return `HostName=127.0.0.1:${this.port};SharedAccessKeyName=service;SharedAccessKey=${KEY}`;
  }

  /** The URL with which a side of a stream connects to this server. */
  streamUrl(streamId: string, side: 'device' | 'service'): string {
    return `wss://127.0.0.1:${this.port}/bridges/${streamId}/${side}`;
  }

  /** Destroys every connection without a close message. */
  cut(): void {
    for (const socket of this.#sockets) destroyConnection(socket);
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }
}

/** SHA-256 of the certificate that a client presented, upper-case hexadecimal; undefined if it presented none. */
export function shownCertificate(socket: Duplex): string | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  return socket.getPeerX509Certificate()?.fingerprint256.replaceAll(':', '');
}

/** A device key: 32 bytes in base64. This server does not check it. */
const KEY = Buffer.alloc(32, 7).toString('base64');
