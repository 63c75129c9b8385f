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

/** The protocol level of MQTT: 4 stands for MQTT 3.1.1, 5 for MQTT 5. */
export type MqttVersion = 4 | 5;

// Otherwise mqtt-packet allocates a table of 65,536 buffers for the first packet. It is not worth that: sessions send few packets, and agents start often.
writeToStream.cacheNumbers = false;

/** Bytes of the first buffer for an incomplete packet. The size is doubled when needed, so memory use depends on the bytes received. */
const FIRST_BUFFER_BYTES = 1024;

/** Decodes a peer's bytes into packets, after a check of each packet's size. */
export class PacketReader {
  readonly #sizeLimiter: PacketSizeLimiter;
  #parser: Parser;
  #awaitsConnect: boolean;
  #level: number | undefined;
  #error: Error | undefined;
  #packet: MqttPacket | undefined;
  /** The beginning of an incomplete packet: the first `#partialBytes` bytes of this buffer. */
  #partial: Buffer | undefined;
  #partialBytes = 0;

  /**
   * @param maxPacketBytes {@link push} throws for a longer packet before any of its payload is buffered
   * @param version the protocol version; undefined in a server, which reads it from the CONNECT packet
   */
  constructor(maxPacketBytes: number, version?: MqttVersion) {
    this.#sizeLimiter = new PacketSizeLimiter(maxPacketBytes);
    this.#awaitsConnect = version === undefined;
    this.#parser = this.#parserOf(version);
  }

  /** Sets the maximum packet size for packets that have not begun yet. */
  limit(maxPacketBytes: number): void {
    this.#sizeLimiter.limit(maxPacketBytes);
  }

  /** The protocol level in the peer's CONNECT, whether supported or not; undefined before it was received. */
  get level(): number | undefined {
    return this.#level;
  }

  /**
   * Yields the packets that `chunk` completes. Packets before a malformed one are yielded before the error is thrown. If the caller stops
   * the iteration early, the rest of the chunk is lost.
   * @throws CulvertError `too_large`, `protocol_error`, `protocol_unsupported`; the connection must then be closed
   */
  *push(chunk: Buffer): Generator<MqttPacket, void, undefined> {
    let at = 0;
    while (at < chunk.length) {
      const end = this.#sizeLimiter.packetEnd(chunk, at);
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
    const size = this.#partialBytes + piece.length;
    if (this.#partial === undefined || this.#partial.length < size) {
      const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_BUFFER_BYTES, size, (this.#partial?.length ?? 0) * 2));
      this.#partial?.copy(larger, 0, 0, this.#partialBytes);
      this.#partial = larger;
    }
    piece.copy(this.#partial, this.#partialBytes);
    this.#partialBytes = size;
  }

  #complete(last: Buffer): Buffer {
    if (this.#partialBytes === 0) return last;
    this.#keep(last);
    const whole = this.#partial?.subarray(0, this.#partialBytes) ?? last;
    this.#partial = undefined;
    this.#partialBytes = 0;
    return whole;
  }

  /** Parses one complete packet. Each is parsed alone, so that the parser cannot read beyond a malformed packet into the next one. */
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
    // mqtt-packet's parser keeps the CONNECT packet, and with it the password and the received chunk, in memory. A new parser frees them.
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
      throw new CulvertError(
        'protocol_unsupported',
        `MQTT protocol level ${this.#level}; only 4 (3.1.1) and 5 are supported.`,
      );
  }
}

/**
 * Encodes a packet for the given version.
 * @throws Error from mqtt-packet when a field is out of range; this is a bug in the caller and not caused by the peer
 */
export function encodePacket(packet: MqttPacket, version: MqttVersion): Buffer {
  return generate(packet, { protocolVersion: version });
}
