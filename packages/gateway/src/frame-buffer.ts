import type { BufferOwner, BufferPool, PooledBuffer } from './buffer-pool.ts';

/** Bytes of the smallest ordinary buffer that an idle direction keeps. */
const FIRST_BYTES = 512;

const EMPTY = Buffer.alloc(0);

/** Complete units that were removed from a {@link FrameBuffer}. */
export interface Filled {
  readonly bytes: Buffer;
  /** The pooled buffer that contains the bytes, to be released after they are written; undefined when they are in an ordinary buffer. */
  readonly pooled: PooledBuffer | undefined;
}

/**
 * The outgoing bytes of one direction of a stream: complete units, followed by the beginning of an incomplete one.
 * Arriving bytes are kept in a buffer of the pool. It is released when it is empty. If bytes remain in it, it is released when another direction
 * needs it: the bytes are then copied to an ordinary buffer with room for more, so that slowly arriving bytes are not copied each time.
 */
export class FrameBuffer implements BufferOwner {
  /** The current buffer, filled up to {@link end}. */
  bytes: Buffer = EMPTY;
  /** Offset of {@link bytes} in the pool's memory; -1 for an ordinary buffer. */
  base = -1;
  /** Bytes of complete units. */
  whole = 0;
  end = 0;

  readonly #memory: BufferPool | undefined;
  #pooled: PooledBuffer | undefined;

  /** @param memory the thread's buffer pool; if undefined, only ordinary buffers are used */
  constructor(memory: BufferPool | undefined) {
    this.#memory = memory;
  }

  /** Whether the bytes are in a pooled buffer, which {@link take} returns without copying. */
  get isPooled(): boolean {
    return this.#pooled !== undefined;
  }

  get room(): number {
    return this.bytes.length - this.end;
  }

  /** Makes room for `count` more bytes; copies the contents to a larger buffer if necessary. */
  makeRoom(count: number): void {
    if (this.room >= count) return;
    const needed = this.end + count;
    const pooled = this.#pooled === undefined ? this.#memory?.take(this) : undefined;
    if (pooled !== undefined && pooled.bytes.length >= needed) {
      this.bytes.copy(pooled.bytes, 0, 0, this.end);
      this.#usePooled(pooled);
      return;
    }
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.end, FIRST_BYTES));
    this.bytes.copy(larger, 0, 0, this.end);
    this.#release(pooled ?? this.#pooled);
    this.bytes = larger;
    this.base = -1;
  }

  /** Removes and returns the complete units; undefined when there are none. */
  take(): Filled | undefined {
    if (this.whole === 0) return undefined;
    const { bytes, whole, end } = this;
    const filled = { bytes: whole === bytes.length ? bytes : bytes.subarray(0, whole), pooled: this.#pooled };
    if (this.#pooled !== undefined) this.#memory?.handOver(this);
    this.#pooled = undefined;
    this.whole = 0;
    this.end = end - whole;
    const pooled = this.end > 0 && filled.pooled !== undefined ? this.#memory?.take(this) : undefined;
    if (pooled === undefined) {
      this.#useOrdinary(bytes.subarray(whole, end));
    } else {
      bytes.copy(pooled.bytes, 0, whole, end);
      this.#usePooled(pooled);
    }
    return filled;
  }

  settle(): void {
    const pooled = this.#pooled;
    if (pooled === undefined) return;
    this.#useOrdinary(pooled.bytes.subarray(0, this.end));
    this.#release(pooled);
  }

  /** Discards all bytes. */
  clear(): void {
    this.whole = 0;
    this.end = 0;
    this.#useOrdinary(EMPTY);
    this.#release(this.#pooled);
  }

  #usePooled(pooled: PooledBuffer): void {
    this.bytes = pooled.bytes;
    this.base = pooled.base;
    this.#pooled = pooled;
  }

  /** Copies `bytes` to an ordinary buffer of twice their size, so that each of many bytes that arrive singly is copied at most twice. */
  #useOrdinary(bytes: Buffer): void {
    this.base = -1;
    this.bytes = bytes.length === 0 ? EMPTY : Buffer.allocUnsafeSlow(Math.max(2 * bytes.length, FIRST_BYTES));
    bytes.copy(this.bytes);
  }

  #release(pooled: PooledBuffer | undefined): void {
    this.#pooled = undefined;
    if (pooled === undefined) return;
    this.#memory?.handOver(this);
    this.#memory?.give(pooled);
  }
}
