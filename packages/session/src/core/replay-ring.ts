import { HEADER_BYTES, readUint32 } from './frame.ts';

/**
 * The counted frames that the peer has not acknowledged, exactly as they are sent, in one ring buffer: a list of separate buffers would outlive
 * V8's young generation and cost far more. Offsets are those of the session. The memory grows by doubling as it is needed and is given back when
 * the ring is empty.
 */
export class ReplayRing {
  #buffer = NOTHING;
  #start = 0;
  #end = 0;
  /** Maximum bytes that the ring may hold. */
  #limit: number;
  readonly #headerCopy = new Uint8Array(HEADER_BYTES);

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Offset of the first byte that is kept. */
  get start(): number {
    return this.#start;
  }

  /** Offset after the last byte. */
  get end(): number {
    return this.#end;
  }

  /** Bytes that may still be appended. */
  get free(): number {
    return this.#limit - (this.#end - this.#start);
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
    if (this.#start === this.#end) this.#buffer = NOTHING;
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

  #reserve(length: number): void {
    const needed = this.#end - this.#start + length;
    if (needed <= this.#buffer.length) return;
    let size = Math.max(this.#buffer.length, FIRST_BYTES);
    while (size < needed) size *= 2;
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
