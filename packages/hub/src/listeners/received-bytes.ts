/** Bytes of the first allocation; it is doubled as needed, so that memory follows the bytes received. */
const FIRST_BYTES = 1_024;

/** The bytes received so far of an incomplete message, copied into one buffer, whatever the size of the chunks in which they were received. */
export class ReceivedBytes {
  #buffer = Buffer.alloc(0);
  #length = 0;

  push(chunk: Buffer): void {
    const length = this.#length + chunk.length;
    if (length > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, length, 2 * this.#buffer.length));
      this.#buffer.copy(larger, 0, 0, this.#length);
      this.#buffer = larger;
    }
    chunk.copy(this.#buffer, this.#length);
    this.#length = length;
  }

  /** All bytes received so far. Callers must not modify them, and must not use them after the next {@link push}. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }
}
