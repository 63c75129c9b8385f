import type { FrameMemory, Slab, SlabHolder } from './frame-memory.ts';

/** Bytes of the smallest buffer of its own that a direction keeps while it is quiet. */
const FIRST_BYTES = 512;

const EMPTY = Buffer.alloc(0);

/** Whole units taken out of a {@link FrameBuffer}. */
export interface Filled {
  readonly bytes: Buffer;
  /** What they lie in, to be given back once they are written; undefined when the buffer is theirs alone. */
  readonly slab: Slab | undefined;
}

/**
 * What one direction of a stream holds, ready to be sent: whole units, and behind them the beginning of one that is not whole yet.
 * While bytes come it is a slab. It is given back when all that it held has gone; if something is left, when another needs it: then an
 * ordinary buffer of about its size takes its place, and what comes drop by drop is not copied each time.
 */
export class FrameBuffer implements SlabHolder {
  /** Filled up to {@link end}. */
  bytes: Buffer = EMPTY;
  /** Where {@link bytes} begin in the frame memory; -1 outside of it. */
  base = -1;
  /** Bytes of whole units. */
  whole = 0;
  end = 0;

  readonly #memory: FrameMemory | undefined;
  #slab: Slab | undefined;

  /** @param memory where slabs are taken; without one, ordinary buffers are used throughout */
  constructor(memory: FrameMemory | undefined) {
    this.#memory = memory;
  }

  /** Whether it is a slab that {@link take} would hand over as it is. */
  get isSlab(): boolean {
    return this.#slab !== undefined;
  }

  get room(): number {
    return this.bytes.length - this.end;
  }

  /** Makes room for `count` more bytes, by moving what is held if it must. */
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

  /** With room for as much again: a drop at a time then costs two copies of each byte at most. */
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
