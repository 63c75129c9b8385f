import type { BufferOwner, BufferPool, PooledBuffer } from './buffer-pool.ts';

/** Bytes of the smallest private buffer that an idle direction keeps. */
const FIRST_BYTES = 512;

const EMPTY = Buffer.alloc(0);

/** Whole units taken out of a {@link FrameBuffer}. */
export interface Filled {
  readonly bytes: Buffer;
  /** The pooled buffer that holds them, to be released once they are written; undefined when the buffer is private. */
  readonly pooled: PooledBuffer | undefined;
}

/**
 * The outgoing bytes of one direction of a stream: whole units, followed by the beginning of an incomplete one.
 * While bytes arrive they are kept in a pooled buffer of the pool. The pooled buffer is released when it is empty; if something is left, when another direction needs it: then an
 * ordinary buffer of about its size replaces it, large enough that slowly arriving bytes are not copied each time.
 */
export class FrameBuffer implements BufferOwner {
  /** Filled up to {@link end}. */
  bytes: Buffer = EMPTY;
  /** Offset of {@link bytes} in the pool's memory; -1 when outside of it. */
  base = -1;
  /** Bytes of whole units. */
  whole = 0;
  end = 0;

  readonly #memory: BufferPool | undefined;
  #pooled: PooledBuffer | undefined;

  /** @param memory the pool of pooled buffers; without one, ordinary buffers are used */
  constructor(memory: BufferPool | undefined) {
    this.#memory = memory;
  }

  /** Whether {@link take} would hand over the pooled buffer without copying. */
  get isPooled(): boolean {
    return this.#pooled !== undefined;
  }

  get room(): number {
    return this.bytes.length - this.end;
  }

  /** Makes room for `count` more bytes, moving the contents if necessary. */
  makeRoom(count: number): void {
    if (this.room >= count) return;
    const needed = this.end + count;
    const pooled = this.#pooled === undefined ? this.#memory?.take(this) : undefined;
    if (pooled !== undefined && pooled.bytes.length >= needed) {
      this.bytes.copy(pooled.bytes, 0, 0, this.end);
      this.#holdIn(pooled);
      return;
    }
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.end, FIRST_BYTES));
    this.bytes.copy(larger, 0, 0, this.end);
    this.#giveBack(pooled ?? this.#pooled);
    this.bytes = larger;
    this.base = -1;
  }

  /** Takes the whole units out. */
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
      this.#holdAlone(bytes.subarray(whole, end));
    } else {
      bytes.copy(pooled.bytes, 0, whole, end);
      this.#holdIn(pooled);
    }
    return filled;
  }

  settle(): void {
    const pooled = this.#pooled;
    if (pooled === undefined) return;
    this.#holdAlone(pooled.bytes.subarray(0, this.end));
    this.#giveBack(pooled);
  }

  /** Throws everything away. */
  clear(): void {
    this.whole = 0;
    this.end = 0;
    this.#holdAlone(EMPTY);
    this.#giveBack(this.#pooled);
  }

  #holdIn(pooled: PooledBuffer): void {
    this.bytes = pooled.bytes;
    this.base = pooled.base;
    this.#pooled = pooled;
  }

  /** Doubles the size, so that bytes arriving one at a time cost at most two copies each. */
  #holdAlone(bytes: Buffer): void {
    this.base = -1;
    this.bytes = bytes.length === 0 ? EMPTY : Buffer.allocUnsafeSlow(Math.max(2 * bytes.length, FIRST_BYTES));
    bytes.copy(this.bytes);
  }

  #giveBack(pooled: PooledBuffer | undefined): void {
    this.#pooled = undefined;
    if (pooled === undefined) return;
    this.#memory?.handOver(this);
    this.#memory?.give(pooled);
  }
}
