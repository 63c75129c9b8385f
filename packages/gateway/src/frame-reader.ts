import { LIMITS } from '@culvert/protocol';
import type { BufferPool } from './buffer-pool.ts';
import { FrameBuffer } from './frame-buffer.ts';
import { HeaderParser, headerBytes, MAX_CONTROL_BYTES, OPCODE, writeHeader } from './frame-header.ts';
import { rotateKey, unmask } from './unmask.ts';

/** Callbacks of a {@link FrameReader}, called synchronously in the order of the bytes. */
export interface FrameSink {
  /** The output has no room for the next bytes. The sink should take its complete units; otherwise the output grows. */
  full(): void;
  /** A control frame was received; all data before it is in the output. The payload is valid only during the call. */
  control(opcode: number, payload: Buffer): void;
  /** A message without payload was received completely. */
  emptyMessage(): void;
}

const HEADER = 0;
const PAYLOAD = 1;
const CONTROL = 2;
/** State after a close frame: everything after it is ignored (RFC 6455 §5.5.1). */
const CLOSED = 3;

/** Bytes that limits count for a message at least: about the cost of its frame and its processing, so that empty messages are not free. */
export const MIN_COUNTED_BYTES = 64;

/**
 * Converts a client's masked frames to the unmasked frames that a server sends. It never assembles a message. Its output consists of *units*: a
 * frame of up to 64 KiB is one unit; a longer frame is split into units of 64 KiB (the last one may be shorter), each a fragment (RFC 6455 §5.4).
 * Only complete units are sent, so the sent bytes always end at a frame boundary.
 */
export class FrameReader {
  /** Payload bytes of complete units. */
  bytes = 0;
  /** The number of complete messages. */
  messages = 0;
  /** {@link bytes}, except that each complete message counts as {@link MIN_COUNTED_BYTES} at least. */
  countedBytes = 0;
  /** Payload bytes, including those of an incomplete unit. */
  receivedBytes = 0;
  readonly output: FrameBuffer;

  readonly #sink: FrameSink;
  readonly #memory: BufferPool | undefined;
  readonly #header = new HeaderParser();
  readonly #control = Buffer.alloc(MAX_CONTROL_BYTES);
  #controlBytes = 0;
  #state: 0 | 1 | 2 | 3 = HEADER;
  /** Payload bytes of the current frame that are not read yet, and the masking key rotated for the next of them. */
  #frameLeft = 0;
  #key = 0;
  /** Payload bytes of the current unit, and how many of them are not read yet. */
  #unitBytes = 0;
  #unitLeft = 0;
  /** The opcode for the next unit of the current frame: the frame's own for the first unit, continuation for the others. */
  #opcode: number = OPCODE.continuation;
  /** Payload bytes of the complete units in the current message. */
  #messageBytes = 0;

  /** @param memory the thread's buffer pool; if undefined, everything is done in JavaScript with ordinary buffers */
  constructor(sink: FrameSink, memory: BufferPool | undefined) {
    this.#sink = sink;
    this.#memory = memory;
    this.output = new FrameBuffer(memory);
  }

  /** Whether no frame and no message is incomplete. */
  get isBetweenMessages(): boolean {
    return this.#state === HEADER && !this.#header.isUnderWay;
  }

  /**
   * Processes the first `end` bytes of a chunk (the pool's read buffer or any other buffer) without changing them.
   * @throws CulvertError `protocol_error`; the frames before the error are in the output, and the reader must not be used again
   */
  read(chunk: Buffer, end: number): void {
    let at = 0;
    while (at < end && this.#state !== CLOSED) {
      if (this.#state === HEADER) at = this.#readHeader(chunk, at, end);
      else if (this.#state === PAYLOAD) at = this.#readPayload(chunk, at, end);
      else at = this.#readControl(chunk, at, end);
    }
  }

  #readHeader(chunk: Buffer, start: number, end: number): number {
    const header = this.#header;
    const at = header.parse(chunk, start, end);
    if (!header.whole) return at;
    this.#key = header.key;
    this.#frameLeft = header.length;
    if (header.opcode >= OPCODE.close) {
      this.#controlBytes = 0;
      this.#state = CONTROL;
      return header.length === 0 ? this.#readControl(chunk, at, end) : at;
    }
    this.#opcode = header.opcode;
    this.#state = PAYLOAD;
    this.#beginUnit(end - at);
    return this.#readPayload(chunk, at, end);
  }

  /** Writes the header of the next unit. @param available bytes in the chunk from the unit's payload on */
  #beginUnit(available: number): void {
    const output = this.output;
    const length = Math.min(this.#frameLeft, LIMITS.frameBytes);
    const size = headerBytes(length);
    // Otherwise a unit that began in a pooled buffer would have to be copied within the same event-loop iteration.
    if (output.isPooled && output.room < size + length) this.#sink.full();
    if (output.room < size + length) output.makeRoom(size + Math.min(length, available));
    const fin = this.#header.fin && length === this.#frameLeft;
    writeHeader(output.bytes, output.end, fin, this.#opcode, length);
    output.end += size;
    this.#unitBytes = this.#unitLeft = length;
    this.#opcode = OPCODE.continuation;
  }

  #readPayload(chunk: Buffer, start: number, end: number): number {
    const count = Math.min(this.#unitLeft, end - start);
    if (this.output.room < count) {
      this.#sink.full();
      this.output.makeRoom(count);
    }
    this.#appendUnmasked(chunk, start, count);
    const at = start + count;
    this.#frameLeft -= count;
    this.#unitLeft -= count;
    this.receivedBytes += count;
    if (this.#unitLeft > 0) {
      this.#key = rotateKey(this.#key, count);
      return at;
    }
    this.output.whole = this.output.end;
    this.bytes += this.#unitBytes;
    this.countedBytes += this.#unitBytes;
    this.#messageBytes += this.#unitBytes;
    if (this.#frameLeft > 0) {
      this.#key = rotateKey(this.#key, count);
      this.#beginUnit(end - at);
    } else {
      this.#state = HEADER;
      if (this.#header.fin) this.#endMessage();
    }
    return at;
  }

  #endMessage(): void {
    const bytes = this.#messageBytes;
    this.#messageBytes = 0;
    this.messages++;
    if (bytes < MIN_COUNTED_BYTES) this.countedBytes += MIN_COUNTED_BYTES - bytes;
    if (bytes === 0) this.#sink.emptyMessage();
  }

  /** Unmasks payload and appends it to the output. */
  #appendUnmasked(chunk: Buffer, start: number, count: number): void {
    const output = this.output;
    const memory = this.#memory;
    if (memory !== undefined && output.base >= 0) {
      const to = output.base + output.end;
      if (chunk === memory.input) {
        memory.unmask(start, to, count, this.#key);
      } else {
        chunk.copy(output.bytes, output.end, start, start + count);
        if (this.#key !== 0) memory.unmask(to, to, count, this.#key);
      }
    } else {
      chunk.copy(output.bytes, output.end, start, start + count);
      unmask(output.bytes, output.end, count, this.#key);
    }
    output.end += count;
  }

  #readControl(chunk: Buffer, start: number, end: number): number {
    const count = Math.min(this.#frameLeft, end - start);
    const payload = this.#control;
    chunk.copy(payload, this.#controlBytes, start, start + count);
    unmask(payload, this.#controlBytes, count, this.#key);
    this.#key = rotateKey(this.#key, count);
    this.#controlBytes += count;
    this.#frameLeft -= count;
    if (this.#frameLeft === 0) {
      this.#state = this.#header.opcode === OPCODE.close ? CLOSED : HEADER;
      this.#sink.control(this.#header.opcode, payload.subarray(0, this.#controlBytes));
    }
    return start + count;
  }
}
