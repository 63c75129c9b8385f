import { CulvertError } from '../errors.ts';

/**
 * Follows the fixed headers of an MQTT byte stream (type and remaining length, MQTT 3.1.1 §2.2) and refuses a packet by its
 * declared length, before anything begins to collect it.
 */
export class PacketSizeLimiter {
  #maxPacketBytes: number;
  /** Bytes of the current packet's body still to pass. */
  #remaining = 0;
  /** Bytes of the fixed header seen so far; 0 between packets. */
  #headerBytes = 0;
  #length = 0;

  constructor(maxPacketBytes: number) {
    this.#maxPacketBytes = maxPacketBytes;
  }

  /** Packets that have not begun yet may be longer, or not. */
  limit(maxPacketBytes: number): void {
    this.#maxPacketBytes = maxPacketBytes;
  }

  /**
   * Reads on at `from`, up to the end of one packet at most.
   * @returns the offset behind that packet, or undefined when `chunk` ends within it
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

  /** Takes one byte of the fixed header and says whether it was its last. */
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
        `An MQTT packet of ${size} bytes; at most ${this.#maxPacketBytes} are taken.`,
      );
    this.#headerBytes = 0;
    return true;
  }
}
