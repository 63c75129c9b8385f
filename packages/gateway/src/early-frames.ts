const FIRST_BYTES = 1_024;

/**
 * What a guest sent before the other side came: whole frames, copied into one buffer, so that small ones do not keep the chunks
 * alive they came in. Its owner bounds it by pausing the guest.
 */
export class EarlyFrames {
  #buffer: Buffer = Buffer.alloc(0);
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  add(frames: Buffer): void {
    const needed = this.#bytes + frames.length;
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#buffer.length, FIRST_BYTES));
      this.#buffer.copy(larger, 0, 0, this.#bytes);
      this.#buffer = larger;
    }
    this.#bytes += frames.copy(this.#buffer, this.#bytes);
  }

  /** Empties it: all of it, or undefined when there is nothing. */
  take(): Buffer | undefined {
    if (this.#bytes === 0) return undefined;
    const all = this.#buffer.subarray(0, this.#bytes);
    this.#buffer = Buffer.alloc(0);
    this.#bytes = 0;
    return all;
  }
}
