import { LIMITS } from '@culvert/protocol';
import { HeaderParser, headerBytes, MAX_CONTROL_BYTES, OPCODE, writeHeader } from './frame-header.ts';
import { HeldUnit } from './held-unit.ts';
import { rotateKey, unmask } from './unmask.ts';

/** Where a {@link FrameReader} delivers; called synchronously, in the order of the bytes. */
export interface FrameSink {
  /** One or several whole units, ready to be sent to the other side. The buffer is the receiver's to keep. */
  frames(bytes: Buffer): void;
  /** A control frame; everything before it was delivered. The payload is only valid during the call. */
  control(opcode: number, payload: Buffer): void;
}

/** Payload up to which a frame is moved up to the one before it, rather than handed on as a buffer of its own. */
const COMPACT_BYTES = 2_048;

const HEADER = 0;
const PAYLOAD = 1;
const CONTROL = 2;

/**
 * Turns a client's masked frames into the unmasked ones a server sends, in the client's own buffers. It never assembles a
 * message. What leaves it are *units*: a frame of up to 64 KiB as it came, or a fragment of 64 KiB (the last one shorter) of a
 * longer frame (RFC 6455 §5.4). Only whole units leave, so that the output stands at a frame boundary at any time; one that is
 * not whole yet is held, at most 64 KiB.
 */
export class FrameReader {
  /** Payload bytes that left in whole units. */
  bytes = 0;
  /** Messages whose last frame left. */
  messages = 0;

  readonly #sink: FrameSink;
  readonly #header = new HeaderParser();
  readonly #held = new HeldUnit();
  readonly #control = Buffer.alloc(MAX_CONTROL_BYTES);
  #controlBytes = 0;
  #state: 0 | 1 | 2 = HEADER;
  /** Payload bytes of the current frame still to come, and the key for the next of them. */
  #frameLeft = 0;
  #key = 0;
  /** Payload bytes of the current unit, and how many are still to come. */
  #unitBytes = 0;
  #unitLeft = 0;
  /** The opcode of the current frame's next unit: its own for the first one, continuation after. */
  #opcode: number = OPCODE.continuation;

  // The run: the part of the current chunk, from #start to #end, that holds output; up to #whole it is whole units.
  #start = 0;
  #whole = 0;
  #end = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Bytes held of a unit that is not whole yet. */
  get heldBytes(): number {
    return this.#held.bytes;
  }

  /**
   * Takes the next chunk and overwrites it; whole units and control frames in it go to the sink.
   * @throws CulvertError `protocol_error`; what came before the offence was delivered, and the reader must not be used again
   */
  read(chunk: Buffer): void {
    this.#start = this.#whole = this.#end = 0;
    let at = 0;
    try {
      while (at < chunk.length) {
        if (this.#state === HEADER) at = this.#readHeader(chunk, at);
        else if (this.#state === PAYLOAD) at = this.#readPayload(chunk, at);
        else at = this.#readControl(chunk, at);
      }
    } finally {
      this.#endRun(chunk);
    }
  }

  #readHeader(chunk: Buffer, start: number): number {
    const header = this.#header;
    const at = header.parse(chunk, start);
    if (!header.whole) return at;
    this.#key = header.key;
    this.#frameLeft = header.length;
    if (header.opcode >= OPCODE.close) {
      this.#controlBytes = 0;
      this.#state = CONTROL;
      return header.length === 0 ? this.#readControl(chunk, at) : at;
    }
    this.#opcode = header.opcode;
    this.#state = PAYLOAD;
    this.#beginUnit(chunk, at, at - start);
    return header.length === 0 ? this.#readPayload(chunk, at) : at;
  }

  /**
   * Writes the header of the next unit, whose payload begins at `at`.
   * @param room bytes before `at` that belong to no output: those of the client's own header, which is four bytes longer
   */
  #beginUnit(chunk: Buffer, at: number, room: number): void {
    const length = Math.min(this.#frameLeft, LIMITS.frameBytes);
    const size = headerBytes(length);
    const fin = this.#header.fin && length === this.#frameLeft;
    this.#unitBytes = this.#unitLeft = length;
    if (room < size) {
      this.#endRun(chunk);
      const header = Buffer.allocUnsafe(size);
      writeHeader(header, 0, fin, this.#opcode, length);
      this.#held.add(header, length);
      this.#start = this.#whole = this.#end = at;
    } else {
      const empty = this.#start === this.#end;
      if (empty || Math.min(length, chunk.length - at) > COMPACT_BYTES) {
        if (!empty) this.#endRun(chunk);
        this.#start = this.#whole = this.#end = at - size;
      }
      writeHeader(chunk, this.#end, fin, this.#opcode, length);
      this.#end += size;
    }
    this.#opcode = OPCODE.continuation;
  }

  #readPayload(chunk: Buffer, start: number): number {
    const count = Math.min(this.#unitLeft, chunk.length - start);
    unmask(chunk, start, this.#end, count, this.#key);
    const at = start + count;
    this.#key = rotateKey(this.#key, count);
    this.#end += count;
    this.#frameLeft -= count;
    this.#unitLeft -= count;
    if (this.#unitLeft > 0) return at;
    this.#completeUnit();
    if (this.#frameLeft === 0) this.#state = HEADER;
    else this.#beginUnit(chunk, at, 0);
    return at;
  }

  #completeUnit(): void {
    const held = this.#held.take();
    for (const piece of held) this.#sink.frames(piece);
    this.#whole = this.#end;
    this.bytes += this.#unitBytes;
    if (this.#frameLeft === 0 && this.#header.fin) this.messages++;
  }

  #readControl(chunk: Buffer, start: number): number {
    const count = Math.min(this.#frameLeft, chunk.length - start);
    const payload = this.#control;
    chunk.copy(payload, this.#controlBytes, start, start + count);
    unmask(payload, this.#controlBytes, this.#controlBytes, count, this.#key);
    this.#key = rotateKey(this.#key, count);
    this.#controlBytes += count;
    this.#frameLeft -= count;
    if (this.#frameLeft === 0) {
      this.#state = HEADER;
      this.#endRun(chunk);
      this.#sink.control(this.#header.opcode, payload.subarray(0, this.#controlBytes));
    }
    return start + count;
  }

  /** Delivers the run's whole units and holds the rest; the next run begins anywhere. */
  #endRun(chunk: Buffer): void {
    if (this.#whole > this.#start) this.#sink.frames(chunk.subarray(this.#start, this.#whole));
    if (this.#end > this.#whole) this.#held.add(chunk.subarray(this.#whole, this.#end), this.#unitLeft);
    this.#start = this.#whole = this.#end;
  }
}
