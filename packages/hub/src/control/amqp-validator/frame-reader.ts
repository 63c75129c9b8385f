import { CulvertError } from '@culvert/protocol';
import { AMQP_LIMITS } from './amqp-limits.ts';
import { broken } from './encoding.ts';

/** Bytes first allocated for data that arrives in pieces. Doubled as needed, so that incomplete data takes memory only for what has arrived. */
const FIRST_PIECE_BYTES = 1_024;

const EMPTY = Buffer.alloc(0);

/** Splits one peer's bytes into protocol headers and frames, none longer than {@link AMQP_LIMITS} allows. Buffers one incomplete frame at most. */
export class FrameReader {
  /** The received bytes that are not consumed yet: `#bytes` from `#start` to `#end`. */
  #bytes: Buffer = EMPTY;
  #start = 0;
  #end = 0;
  #maxFrameBytes: number = AMQP_LIMITS.unauthenticatedBytes;

  /** The peer has authenticated: longer frames are accepted from now on. */
  authenticated(): void {
    this.#maxFrameBytes = AMQP_LIMITS.frameBytes;
  }

  push(chunk: Buffer): void {
    const held = this.#end - this.#start;
    if (held === 0) {
      this.#bytes = chunk;
      this.#start = 0;
      this.#end = chunk.length;
      return;
    }
    // A received chunk that serves as the buffer has no free space after its bytes.
    if (this.#bytes.length - this.#end < chunk.length) {
      const room = Buffer.allocUnsafe(Math.max(FIRST_PIECE_BYTES, 2 * held, held + chunk.length));
      this.#bytes.copy(room, 0, this.#start, this.#end);
      this.#bytes = room;
      this.#start = 0;
      this.#end = held;
    }
    this.#end += chunk.copy(this.#bytes, this.#end);
  }

  /** The 8 bytes of a protocol header (AMQP 1.0 §2.2); undefined until they have arrived. @throws CulvertError `protocol_error` */
  header(): Buffer | undefined {
    const begun = this.#bytes.toString('latin1', this.#start, Math.min(this.#end, this.#start + 4));
    if (!'AMQP'.startsWith(begun)) throw broken('No AMQP protocol header.');
    return this.#take(8);
  }

  /** The next complete frame; undefined until it has arrived. @throws CulvertError `protocol_error`, `too_large`: both by its first four bytes */
  frame(): Buffer | undefined {
    if (this.#end - this.#start < 4) return undefined;
    const length = this.#bytes.readUInt32BE(this.#start);
    if (length < 8) throw broken('A frame shorter than its own header.');
    if (length > this.#maxFrameBytes)
      throw new CulvertError('too_large', `A frame of ${length} bytes; at most ${this.#maxFrameBytes} are taken.`);
    return this.#take(length);
  }

  #take(length: number): Buffer | undefined {
    if (this.#end - this.#start < length) return undefined;
    const taken = this.#bytes.subarray(this.#start, this.#start + length);
    this.#start += length;
    if (this.#start === this.#end) this.#bytes = EMPTY;
    if (this.#bytes === EMPTY) this.#start = this.#end = 0;
    return taken;
  }
}
