import type { BufferOwner, BufferPool, Slab } from './buffer-pool.ts';

/** Bytes of the smallest private buffer that an idle direction keeps. */
const FIRST_BYTES = 512;

const EMPTY = Buffer.alloc(0);

/** Whole units taken out of a {@link FrameBuffer}. */
export interface Filled {
  readonly bytes: Buffer;
  /** The slab that holds them, to be released once they are written; undefined when the buffer is private. */
  readonly slab: Slab | undefined;
}

/**
 * The outgoing bytes of one direction of a stream: whole units, followed by the beginning of an incomplete one.
 * While bytes arrive they are kept in a slab of the pool. The slab is released when it is empty; if something is left, when another direction needs it: then an
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
  #slab: Slab | undefined;

  /** @param memory the pool of slabs; without one, ordinary buffers are used */
  constructor(memory: BufferPool | undefined) {
    this.#memory = memory;
  }

  /** Whether {@link take} would hand over the slab without copying. */
  get isSlab(): boolean {
    return this.#slab !== undefined;
  }

  get room(): number {
    return this.bytes.length - this.end;
  }

  /** Makes room for `count` more bytes, moving the contents if necessary. */
  makeRoom(count: number): void {
    if (this.room >= count) return;
    const needed = this.end + count;
    const slab = this.#slab === undefined ? this.#memory?.take(this) : undefined;
    if (slab !== undefined && slab.bytes.length >= needed) {
      this.bytes.copy(slab.bytes, 0, 0, this.end);
      this.#holdIn(slab);
      return;
    }
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.end, FIRST_BYTES));
    this.bytes.copy(larger, 0, 0, this.end);
    this.#giveBack(slab ?? this.#slab);
    this.bytes = larger;
    this.base = -1;
  }

  /** Takes the whole units out. */
  take(): Filled | undefined {
    if (this.whole === 0) return undefined;
    const { bytes, whole, end } = this;
    const filled = { bytes: whole === bytes.length ? bytes : bytes.subarray(0, whole), slab: this.#slab };
    if (this.#slab !== undefined) this.#memory?.handOver(this);
    this.#slab = undefined;
    this.whole = 0;
    this.end = end - whole;
    const slab = this.end > 0 && filled.slab !== undefined ? this.#memory?.take(this) : undefined;
    if (slab === undefined) {
      this.#holdAlone(bytes.subarray(whole, end));
    } else {
      bytes.copy(slab.bytes, 0, whole, end);
      this.#holdIn(slab);
    }
    return filled;
  }

  settle(): void {
    const slab = this.#slab;
    if (slab === undefined) return;
    this.#holdAlone(slab.bytes.subarray(0, this.end));
    this.#giveBack(slab);
  }

  /** Throws everything away. */
  clear(): void {
    this.whole = 0;
    this.end = 0;
    this.#holdAlone(EMPTY);
    this.#giveBack(this.#slab);
  }

  #holdIn(slab: Slab): void {
    this.bytes = slab.bytes;
    this.base = slab.base;
    this.#slab = slab;
  }

  /** Doubles the size, so that bytes arriving one at a time cost at most two copies each. */
  #holdAlone(bytes: Buffer): void {
    this.base = -1;
    this.bytes = bytes.length === 0 ? EMPTY : Buffer.allocUnsafeSlow(Math.max(2 * bytes.length, FIRST_BYTES));
    bytes.copy(this.bytes);
  }

  #giveBack(slab: Slab | undefined): void {
    this.#slab = undefined;
    if (slab === undefined) return;
    this.#memory?.handOver(this);
    this.#memory?.give(slab);
  }
}
