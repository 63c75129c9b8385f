/** The first allocation; doubled as needed, so slow arrivals cost what has arrived. */
const FIRST_BYTES = 1_024;

/** What has come of something that is not whole yet, in one piece of memory, however small the pieces were that it came in. */
export class ReceivedBytes {
  #room = Buffer.alloc(0);
  #length = 0;

  push(chunk: Buffer): void {
    const length = this.#length + chunk.length;
    if (length > this.#room.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, length, 2 * this.#room.length));
      this.#room.copy(larger, 0, 0, this.#length);
      this.#room = larger;
    }
    chunk.copy(this.#room, this.#length);
    this.#length = length;
  }

  /** All of it. Not to be changed, and no longer true after the next {@link push}. */
  get bytes(): Buffer {
    return this.#room.subarray(0, this.#length);
  }
}
