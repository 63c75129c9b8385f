import { CulvertError } from '@culvert/protocol';

/** The opcodes of RFC 6455 §5.2; every other is reserved. */
export const OPCODE = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa } as const;

/** Bytes of a control frame's payload at most (RFC 6455 §5.5). */
export const MAX_CONTROL_BYTES = 125;

/** Bytes of a client's header at most: two, an extended length of eight, a masking key of four. */
const MAX_HEADER_BYTES = 14;

const FIN = 0x80;
const MASKED = 0x80;
const RSV = 0x70;

/**
 * Parses the headers of a client's frames from arbitrarily split chunks, and rejects what RFC 6455 does not allow a client without
 * extensions to send. After {@link HeaderParser.parse} left {@link HeaderParser.whole} true, the fields hold the header.
 */
export class HeaderParser {
  whole = false;
  fin = false;
  opcode: number = OPCODE.continuation;
  /** Bytes of payload. */
  length = 0;
  /** The masking key, its first byte lowest. */
  key = 0;

  /** The first bytes of a header that is split over chunks. */
  readonly #split = Buffer.alloc(MAX_HEADER_BYTES);
  #have = 0;
  /** Whether a fragmented message is under way (§5.4). */
  #fragmented = false;

  /** Whether a header or a fragmented message has begun and is not whole. */
  get isUnderWay(): boolean {
    return this.#have > 0 || this.#fragmented;
  }

  /**
   * Parses one header from `start` on, or as much of it as there is.
   * @returns the position after the parsed bytes: the start of the payload when {@link whole}, `end` otherwise
   * @throws CulvertError `protocol_error`
   */
  parse(chunk: Buffer, start: number, end: number): number {
    this.whole = false;
    if (this.#have === 0 && end - start >= 2) {
      this.#check(chunk[start] as number, chunk[start + 1] as number);
      const size = maskedHeaderBytes(chunk[start + 1] as number);
      if (start + size <= end) {
        this.#decode(chunk, start, size);
        return start + size;
      }
    }
    return this.#collect(chunk, start, end);
  }

  #collect(chunk: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end) {
      this.#split[this.#have++] = chunk[at++] as number;
      if (this.#have === 2) this.#check(this.#split[0] as number, this.#split[1] as number);
      if (this.#have < 2 || this.#have < maskedHeaderBytes(this.#split[1] as number)) continue;
      this.#decode(this.#split, 0, this.#have);
      this.#have = 0;
      return at;
    }
    return at;
  }

  #check(first: number, second: number): void {
    if ((first & RSV) !== 0) throw refuse('a reserved bit is set');
    const opcode = first & 0x0f;
    if (opcode >= OPCODE.close) {
      if (opcode > OPCODE.pong) throw refuse('a reserved opcode');
      if ((first & FIN) === 0) throw refuse('a fragmented control frame');
      if ((second & 0x7f) > MAX_CONTROL_BYTES) throw refuse('a control frame longer than 125 bytes');
    } else if (opcode === OPCODE.continuation) {
      if (!this.#fragmented) throw refuse('a continuation of nothing');
    } else {
      if (opcode > OPCODE.binary) throw refuse('a reserved opcode');
      if (this.#fragmented) throw refuse('a new message inside a fragmented one');
    }
    if ((second & MASKED) === 0) throw refuse('an unmasked frame');
  }

  #decode(bytes: Buffer, at: number, size: number): void {
    const first = bytes[at] as number;
    this.fin = (first & FIN) !== 0;
    this.opcode = first & 0x0f;
    if (size === 6) this.length = (bytes[at + 1] as number) & 0x7f;
    else if (size === 8) this.length = bytes.readUInt16BE(at + 2);
    else {
      const high = bytes.readUInt32BE(at + 2);
      // §5.2 forbids the top bit. Smaller lengths beyond 2^53 would take 28 years at 10 MB/s.
      if (high > 0x1f_ffff) throw refuse('a frame longer than 2^53 bytes');
      this.length = high * 2 ** 32 + bytes.readUInt32BE(at + 6);
    }
    this.key = bytes.readInt32LE(at + size - 4);
    if (this.opcode < OPCODE.close) this.#fragmented = !this.fin;
    this.whole = true;
  }
}

function maskedHeaderBytes(second: number): number {
  const length = second & 0x7f;
  return length < 126 ? 6 : length === 126 ? 8 : 14;
}

function refuse(what: string): CulvertError {
  return new CulvertError('protocol_error', `The client sent ${what}.`);
}

/** Bytes of an unmasked header for a payload of at most 65,536 bytes. */
export function headerBytes(length: number): number {
  return length < 126 ? 2 : length < 65_536 ? 4 : 10;
}

/** Writes an unmasked header (RFC 6455 §5.2) at `at`, where {@link headerBytes} must fit. */
export function writeHeader(bytes: Buffer, at: number, fin: boolean, opcode: number, length: number): void {
  bytes[at] = (fin ? FIN : 0) | opcode;
  if (length < 126) {
    bytes[at + 1] = length;
  } else if (length < 65_536) {
    bytes[at + 1] = 126;
    bytes[at + 2] = length >>> 8;
    bytes[at + 3] = length & 0xff;
  } else {
    bytes[at + 1] = 127;
    bytes.writeUInt32BE(0, at + 2);
    bytes.writeUInt32BE(length, at + 6);
  }
}

/** A whole control frame, unmasked. @param payload at most {@link MAX_CONTROL_BYTES} */
export function controlFrame(opcode: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(2 + payload.length);
  writeHeader(frame, 0, true, opcode, payload.length);
  frame.set(payload, 2);
  return frame;
}
