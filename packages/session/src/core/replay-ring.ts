import type { Budget } from './budget.ts';
import { HEADER_BYTES, readUint32 } from './frame.ts';

/** Memory of a ring that is not taken from the budget: a full frame beside the 64 KiB that data leaves to control frames. No session could do without it. */
export const FREE_RING_BYTES = 131_072;

/**
 * The counted frames that the peer has not acknowledged, exactly as they are sent, in one ring buffer: a list of separate buffers would outlive
 * V8's young generation and cost far more. Offsets are those of the session. The memory grows by doubling as it is needed and is given back when
 * the ring is empty. What it needs beyond {@link FREE_RING_BYTES} is taken from the budget when it is needed; what lies beyond the first limit is paid for
 * by whoever raises the limit.
 */
export class ReplayRing {
  #buffer = NOTHING;
  #start = 0;
  #end = 0;
  /** Maximum bytes that the ring may hold. */
  #limit: number;
  readonly #firstLimit: number;
  readonly #budget: Budget;
  #fromBudget = 0;
  readonly #headerCopy = new Uint8Array(HEADER_BYTES);

  /** @param limit bytes that the ring may hold at first, a power of two */
  constructor(limit: number, budget: Budget) {
    this.#limit = limit;
    this.#firstLimit = limit;
    this.#budget = budget;
  }

  /** Offset of the first byte that is kept. */
  get start(): number {
    return this.#start;
  }

  /** Offset after the last byte. */
  get end(): number {
    return this.#end;
  }

  /** Bytes that may still be appended, as far as the budget has memory for them now. */
  get free(): number {
    return Math.min(this.#limit, this.#attainable()) - (this.#end - this.#start);
  }

  /** Bytes of memory in use. */
  get memory(): number {
    return this.#buffer.length;
  }

  get limit(): number {
    return this.#limit;
  }

  /** Sets the maximum; never below what is kept. */
  set limit(bytes: number) {
    this.#limit = Math.max(bytes, this.#end - this.#start);
  }

  /** Appends bytes. The caller has checked that there is room. */
  append(bytes: Uint8Array): void {
    const length = bytes.length;
    this.#reserve(length);
    const at = this.#end % this.#buffer.length;
    const first = Math.min(length, this.#buffer.length - at);
    if (first === length) this.#buffer.set(bytes, at);
    else {
      this.#buffer.set(bytes.subarray(0, first), at);
      this.#buffer.set(bytes.subarray(first), 0);
    }
    this.#end += length;
  }

  /** Forgets everything before `offset`. */
  release(offset: number): void {
    this.#start = offset;
  }

  /** Gives the memory back if nothing is kept. */
  trim(): void {
    if (this.#start !== this.#end) return;
    this.#buffer = NOTHING;
    this.#budget.give(this.#fromBudget);
    this.#fromBudget = 0;
  }

  /** The bytes from one offset to another, as one or two views of the ring. They change when the bytes have been released and others are appended. */
  slices(from: number, to: number): Uint8Array[] {
    if (from === to) return [];
    const size = this.#buffer.length;
    const [first, last] = [from % size, to % size];
    if (first < last || last === 0) return [this.#buffer.subarray(first, last === 0 ? size : last)];
    return [this.#buffer.subarray(first), this.#buffer.subarray(0, last)];
  }

  /** The offset after the frame that begins at `offset`. */
  frameEnd(offset: number): number {
    const size = this.#buffer.length;
    for (let index = 0; index < 4; index++) this.#headerCopy[index] = this.#buffer[(offset + index) % size] as number;
    return offset + HEADER_BYTES + (readUint32(this.#headerCopy, 0) & 0xffffff);
  }

  /** The size to which the memory can grow now. */
  #attainable(): number {
    if (this.#budget.free >= this.#limit) return this.#limit;
    let size = Math.max(this.#buffer.length, FREE_RING_BYTES);
    while (size < this.#limit && this.#price(size * 2) <= this.#budget.free) size *= 2;
    return size;
  }

  /** Bytes that growing to this size takes from the budget. */
  #price(size: number): number {
    return Math.max(0, Math.min(size, this.#firstLimit) - FREE_RING_BYTES - this.#fromBudget);
  }

  #reserve(length: number): void {
    const needed = this.#end - this.#start + length;
    if (needed <= this.#buffer.length) return;
    let size = Math.max(this.#buffer.length, FIRST_BYTES);
    while (size < needed) size *= 2;
    const price = this.#price(size);
    if (!this.#budget.take(price)) throw new RangeError('More was appended to the ring than it had room for.');
    this.#fromBudget += price;
    // The size is not limited to `#limit`: powers of two let a ring grow a few times only.
    const grown = new Uint8Array(size);
    let at = this.#start;
    for (const slice of this.slices(this.#start, this.#end)) {
      const to = at % size;
      const first = Math.min(slice.length, size - to);
      grown.set(slice.subarray(0, first), to);
      grown.set(slice.subarray(first), 0);
      at += slice.length;
    }
    this.#buffer = grown;
  }
}

/** Bytes of the first allocation: enough for the frames of an interactive connection. */
const FIRST_BYTES = 4_096;

const NOTHING = new Uint8Array(0);
