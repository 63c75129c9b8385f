import {
  generate,
  type IConnackPacket,
  type IConnectPacket,
  type IDisconnectPacket,
  type IPingreqPacket,
  type IPingrespPacket,
  type IPubackPacket,
  type IPublishPacket,
  type ISubackPacket,
  type ISubscribePacket,
  type IUnsubackPacket,
  type IUnsubscribePacket,
  type Packet,
  type Parser,
  parser,
} from 'mqtt-packet';
import { CulvertError } from '../errors.ts';
import { PacketGuard } from './packet-guard.ts';

export type MqttPacket = Packet;
export type {
  IConnackPacket,
  IConnectPacket,
  IDisconnectPacket,
  IPingreqPacket,
  IPingrespPacket,
  IPubackPacket,
  IPublishPacket,
  ISubackPacket,
  ISubscribePacket,
  IUnsubackPacket,
  IUnsubscribePacket,
};

/** MQTT's protocol level: 4 is 3.1.1, 5 is 5. */
export type MqttVersion = 4 | 5;

/** Turns bytes into packets, one peer's at a time, behind a size guard. */
export class PacketReader {
  readonly #guard: PacketGuard;
  #parser: Parser;
  #error: Error | undefined;
  readonly #packets: MqttPacket[] = [];

  /** @param maxPacketBytes packets longer than this end the connection before they are buffered */
  constructor(maxPacketBytes: number, version?: MqttVersion) {
    this.#guard = new PacketGuard(maxPacketBytes);
    this.#parser = this.#listen(parser(version === undefined ? {} : { protocolVersion: version }));
  }

  #listen(fresh: Parser): Parser {
    fresh.on('packet', (packet) => this.#packets.push(packet));
    fresh.on('error', (error: Error) => {
      this.#error = error;
    });
    return fresh;
  }

  /**
   * The packets that `chunk` completes.
   * @throws CulvertError `too_large` or `protocol_error`; the connection is then of no further use
   */
  push(chunk: Buffer): MqttPacket[] {
    this.#guard.push(chunk);
    try {
      this.#parser.parse(chunk);
    } catch (error) {
      // mqtt-packet throws on some malformed input instead of emitting 'error'.
      this.#error = error as Error;
    }
    if (this.#error !== undefined)
      throw new CulvertError('protocol_error', 'A malformed MQTT packet.', { cause: this.#error });
    return this.#packets.splice(0);
  }
}

/** A packet's bytes in the given version. */
export function encodePacket(packet: MqttPacket, version: MqttVersion): Buffer {
  return generate(packet, { protocolVersion: version });
}
