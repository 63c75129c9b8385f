/** Pieces up to this many bytes are small. */
const SMALL_BYTES = 4_096;
/** Bytes that are joined at most. */
const JOINED_BYTES = 16_384;

/**
 * Joins small pieces that a slow receiver has not taken yet. Each is a view of a chunk of the link, usually 64 KiB, which it would keep in memory, and
 * one in a queue costs some hundred bytes: a peer that sends single bytes could make a window of 256 KiB cost many MiB.
 */
export class SmallPieces {
  #block: Buffer | undefined;
  #length = 0;

  /** Bytes that are kept. */
  get length(): number {
    return this.#length;
  }

  /** Copies the bytes behind the others. Returns false, and does nothing, if they are too many: then {@link take} what is there first. */
  add(bytes: Uint8Array): boolean {
    if (bytes.length > SMALL_BYTES || this.#length + bytes.length > JOINED_BYTES) return false;
    this.#block ??= Buffer.allocUnsafeSlow(JOINED_BYTES);
    this.#block.set(bytes, this.#length);
    this.#length += bytes.length;
    return true;
  }

  /** The joined bytes, which are kept no longer; undefined if there are none. */
  take(): Buffer | undefined {
    const block = this.#block?.subarray(0, this.#length);
    const isSmall = this.#length <= SMALL_BYTES;
    this.#block = undefined;
    this.#length = 0;
    // A few bytes do not keep the whole block.
    return block !== undefined && isSmall ? Buffer.from(block) : block;
  }
}
