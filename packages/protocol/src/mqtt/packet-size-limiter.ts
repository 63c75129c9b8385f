import { CulvertError } from '../errors.ts';

/**
 * Parses the fixed headers in an MQTT byte stream (type and remaining length, MQTT 3.1.1 §2.2) and refuses a packet that declares too large a
 * size, before any of the packet is buffered.
 */
export class PacketSizeLimiter {
  #maxPacketBytes: number;
  /** Bytes of the current packet's body that are not received yet. */
  #remaining = 0;
  /** Bytes of the current fixed header received so far; 0 when no header is incomplete. */
  #headerBytes = 0;
  #length = 0;

  constructor(maxPacketBytes: number) {
    this.#maxPacketBytes = maxPacketBytes;
  }

  /** Sets the maximum packet size for packets that have not begun yet. */
  limit(maxPacketBytes: number): void {
    this.#maxPacketBytes = maxPacketBytes;
  }

  /**
   * Continues at offset `from`, up to the end of the current packet.
   * @returns the offset after that packet, or undefined when `chunk` ends before the packet does
   * @throws CulvertError `too_large` or `protocol_error`
   */
  packetEnd(chunk: Uint8Array, from: number): number | undefined {
    let at = from;
    while (this.#remaining === 0) {
      const byte = chunk[at++];
      if (byte === undefined) return undefined;
      if (this.#header(byte)) {
        if (this.#length === 0) return at;
        this.#remaining = this.#length;
      }
    }
    const passed = Math.min(this.#remaining, chunk.length - at);
    this.#remaining -= passed;
    return this.#remaining === 0 ? at + passed : undefined;
  }

  /** Parses one byte of the fixed header. Returns whether the header is complete. */
  #header(byte: number): boolean {
    if (this.#headerBytes++ === 0) {
      if (byte >> 4 === 0) throw new CulvertError('protocol_error', 'An MQTT packet of the forbidden type 0.');
      this.#length = 0;
      return false;
    }
    this.#length += (byte & 0x7f) * 128 ** (this.#headerBytes - 2);
    if ((byte & 0x80) !== 0) {
      if (this.#headerBytes === 5)
        throw new CulvertError('protocol_error', 'An MQTT remaining length of more than four bytes.');
      return false;
    }
    const size = this.#headerBytes + this.#length;
    if (size > this.#maxPacketBytes)
      throw new CulvertError(
        'too_large',
        `An MQTT packet of ${size} bytes; at most ${this.#maxPacketBytes} are accepted.`,
      );
    this.#headerBytes = 0;
    return true;
  }
}
