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
  writeToStream,
} from 'mqtt-packet';
import { CulvertError } from '../errors.ts';
import { printable } from '../ids.ts';
import { PacketSizeLimiter } from './packet-size-limiter.ts';
import { protocolLevel } from './protocol-level.ts';

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

// Without this the first packet allocates a table of 65,536 buffers; there are few packets, and agents start often.
writeToStream.cacheNumbers = false;

/** The first allocation for an incomplete packet; doubled as needed, so that memory follows the bytes received. */
const FIRST_PIECE_BYTES = 1024;

/** Decodes a peer's bytes into packets, behind a size limiter. */
export class PacketReader {
  readonly #guard: PacketSizeLimiter;
  #parser: Parser;
  #awaitsConnect: boolean;
  #level: number | undefined;
  #error: Error | undefined;
  #packet: MqttPacket | undefined;
  /** The beginning of an incomplete packet, in the first `#held` bytes of this buffer. */
  #pieces: Buffer | undefined;
  #held = 0;

  /**
   * @param maxPacketBytes packets longer than this end the connection before they are buffered
   * @param version the protocol version; absent at a server, where the CONNECT packet tells
   */
  constructor(maxPacketBytes: number, version?: MqttVersion) {
    this.#guard = new PacketSizeLimiter(maxPacketBytes);
    this.#awaitsConnect = version === undefined;
    this.#parser = this.#parserOf(version);
  }

  /** From now on packets of this size are taken. */
  limit(maxPacketBytes: number): void {
    this.#guard.limit(maxPacketBytes);
  }

  /** The protocol level the peer's CONNECT asked for, whether supported or not. */
  get level(): number | undefined {
    return this.#level;
  }

  /**
   * Yields the packets that `chunk` completes; those before a malformed one are yielded first. A caller that stops early
   * loses the rest of the chunk.
   * @throws CulvertError `too_large`, `protocol_error`, `protocol_unsupported`; the connection is then of no further use
   */
  *push(chunk: Buffer): Generator<MqttPacket, void, undefined> {
    let at = 0;
    while (at < chunk.length) {
      const end = this.#guard.packetEnd(chunk, at);
      if (end === undefined) {
        this.#keep(chunk.subarray(at));
        return;
      }
      const whole = this.#complete(chunk.subarray(at, end));
      at = end;
      yield this.#parse(whole);
    }
  }

  #keep(piece: Buffer): void {
    const size = this.#held + piece.length;
    if (this.#pieces === undefined || this.#pieces.length < size) {
      const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_PIECE_BYTES, size, (this.#pieces?.length ?? 0) * 2));
      this.#pieces?.copy(larger, 0, 0, this.#held);
      this.#pieces = larger;
    }
    piece.copy(this.#pieces, this.#held);
    this.#held = size;
  }

  #complete(last: Buffer): Buffer {
    if (this.#held === 0) return last;
    this.#keep(last);
    const whole = this.#pieces?.subarray(0, this.#held) ?? last;
    this.#pieces = undefined;
    this.#held = 0;
    return whole;
  }

  /** The parser gets one whole packet at a time, so it cannot read past a malformed one into the next. */
  #parse(whole: Buffer): MqttPacket {
    const isConnect = this.#awaitsConnect;
    if (isConnect) this.#checkLevel(whole);
    try {
      this.#parser.parse(whole);
    } catch (error) {
      // mqtt-packet throws on some malformed input instead of emitting 'error'.
      this.#error = error as Error;
    }
    const packet = this.#packet;
    this.#packet = undefined;
    // A parser of mqtt-packet keeps the CONNECT packet, and with it the password and its chunk, as long as it lives.
    if (isConnect) this.#parser = this.#parserOf(this.#level);
    if (this.#error !== undefined || packet === undefined)
      throw new CulvertError(
        'protocol_error',
        `A malformed MQTT packet: ${printable(this.#error?.message ?? 'empty')}`,
        {
          cause: this.#error,
        },
      );
    return packet;
  }

  #parserOf(version: number | undefined): Parser {
    const made = parser(version === undefined ? {} : { protocolVersion: version });
    made.on('packet', (packet) => {
      this.#packet = packet;
    });
    made.on('error', (error: Error) => {
      this.#error = error;
    });
    return made;
  }

  #checkLevel(first: Buffer): void {
    this.#awaitsConnect = false;
    this.#level = protocolLevel(first);
    if (this.#level === undefined) throw new CulvertError('protocol_error', 'The first MQTT packet was not a CONNECT.');
    if (this.#level !== 4 && this.#level !== 5)
      throw new CulvertError('protocol_unsupported', `MQTT protocol level ${this.#level}; 4 (3.1.1) and 5 are spoken.`);
  }
}

/**
 * A packet's bytes in the given version.
 * @throws Error from mqtt-packet when a field is out of range: a bug here, never the peer's fault
 */
export function encodePacket(packet: MqttPacket, version: MqttVersion): Buffer {
  return generate(packet, { protocolVersion: version });
}
