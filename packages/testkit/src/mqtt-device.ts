import type { Duplex } from 'node:stream';
import { API_VERSION, LIMITS, STREAM_REQUEST_FILTER } from '@culvert/protocol';
import {
  encodePacket,
  type IConnackPacket,
  type IConnectPacket,
  type ISubackPacket,
  type MqttPacket,
  type MqttVersion,
  PacketReader,
} from '@culvert/protocol/mqtt';

/** An MQTT device that a test controls packet by packet, over any connection. It acknowledges messages with QoS 1. */
export class MqttDevice {
  readonly connection: Duplex;
  readonly version: MqttVersion;
  readonly #packets: MqttPacket[] = [];
  readonly #waiting: { resolve(packet: MqttPacket): void; reject(error: Error): void }[] = [];
  #over = false;
  /** Resolves when the connection has ended, cleanly or with an error. */
  readonly over: Promise<void>;
  /** The reason code of the hub's DISCONNECT (MQTT 5); undefined before it is received. */
  disconnectReason: number | undefined;

  constructor(connection: Duplex, version: MqttVersion) {
    this.connection = connection;
    this.version = version;
    const reader = new PacketReader(LIMITS.mqttPacketBytes, version);
    connection.on('data', (chunk: Buffer) => {
      for (const packet of reader.push(chunk)) this.#receive(packet);
    });
    this.over = new Promise((resolve) => {
      const end = (): void => {
        this.#over = true;
        for (const { reject } of this.#waiting.splice(0)) reject(new Error('The hub closed the connection.'));
        resolve();
      };
      connection.once('end', end);
      connection.once('close', end);
    });
    // An error needs a listener. Tests wait for the end of the connection with `over`.
    connection.on('error', () => connection.destroy());
  }

  #receive(packet: MqttPacket): void {
    if (packet.cmd === 'disconnect') this.disconnectReason = packet.reasonCode;
    if (packet.cmd === 'publish' && packet.qos === 1 && packet.messageId !== undefined)
      this.send({ cmd: 'puback', messageId: packet.messageId, reasonCode: 0 });
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#packets.push(packet);
    else waiting.resolve(packet);
  }

  /** Sends CONNECT and waits for CONNACK. */
  async connect(deviceId: string, fields: Partial<IConnectPacket> = {}): Promise<IConnackPacket> {
    this.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: this.version,
      clean: true,
      keepalive: 60,
      clientId: deviceId,
      username: `hub.example/${deviceId}/?api-version=${API_VERSION}`,
      password: Buffer.from('secret'),
      ...fields,
    });
    return this.take('connack');
  }

  async subscribe(qos: 0 | 1 = 0, filter = STREAM_REQUEST_FILTER): Promise<ISubackPacket> {
    this.send({
      cmd: 'subscribe',
      messageId: 7,
      subscriptions: [{ topic: filter, qos, nl: false, rap: false, rh: 0 }],
    });
    return this.take('suback');
  }

  send(packet: MqttPacket): void {
    this.connection.write(encodePacket(packet, this.version));
  }

  /** Resolves with the next packet. @throws Error if the packet is of another kind */
  async take<C extends MqttPacket['cmd']>(cmd: C): Promise<Extract<MqttPacket, { cmd: C }>> {
    const packet = await this.next();
    if (packet.cmd !== cmd) throw new Error(`The hub sent ${packet.cmd} where ${cmd} was due.`);
    return packet as Extract<MqttPacket, { cmd: C }>;
  }

  next(): Promise<MqttPacket> {
    const packet = this.#packets.shift();
    if (packet !== undefined) return Promise.resolve(packet);
    if (this.#over) return Promise.reject(new Error('The hub closed the connection.'));
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }
}
