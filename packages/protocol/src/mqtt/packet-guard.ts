import { CulvertError } from '../errors.ts';

/**
 * Follows the fixed headers of an MQTT byte stream (type and remaining length, MQTT 3.1.1 §2.2) and refuses a packet by its
 * declared length, before a parser that has no limit of its own begins to collect it.
 */
export class PacketGuard {
  readonly #maxPacketBytes: number;
  /** Bytes of the current packet's body still to pass. */
  #remaining = 0;
  /** Bytes of the fixed header seen so far; 0 between packets. */
  #headerBytes = 0;
  #length = 0;

  constructor(maxPacketBytes: number) {
    this.#maxPacketBytes = maxPacketBytes;
  }

  /** @throws CulvertError `too_large` or `protocol_error` */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#remaining > 0) {
        const skipped = Math.min(this.#remaining, chunk.length - at);
        this.#remaining -= skipped;
        at += skipped;
        continue;
      }
      const byte = chunk[at++] as number;
      if (this.#headerBytes++ === 0) {
        if (byte >> 4 === 0) throw new CulvertError('protocol_error', 'An MQTT packet of the forbidden type 0.');
        this.#length = 0;
        continue;
      }
      this.#length += (byte & 0x7f) * 128 ** (this.#headerBytes - 2);
      if ((byte & 0x80) !== 0) {
        if (this.#headerBytes === 5)
          throw new CulvertError('protocol_error', 'An MQTT remaining length of more than four bytes.');
        continue;
      }
      if (this.#headerBytes + this.#length > this.#maxPacketBytes)
        throw new CulvertError(
          'too_large',
          `An MQTT packet of ${this.#length} bytes; at most ${this.#maxPacketBytes} are taken.`,
        );
      this.#remaining = this.#length;
      this.#headerBytes = 0;
    }
  }
}
