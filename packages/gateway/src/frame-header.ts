import { CulvertError } from '@culvert/protocol';

/** The opcodes of RFC 6455 §5.2; all others are reserved. */
export const OPCODE = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa } as const;

/** Bytes of a control frame's payload, at most (RFC 6455 §5.5). */
export const MAX_CONTROL_BYTES = 125;

/** Bytes of a client's frame header, at most: two, plus an extended length of eight and a masking key of four. */
const MAX_HEADER_BYTES = 14;

const FIN = 0x80;
const MASKED = 0x80;
const RSV = 0x70;

/**
 * Parses the headers of a client's frames from arbitrarily split chunks, and refuses frames that RFC 6455 does not allow from a client without
 * extensions. If {@link HeaderParser.whole} is true after {@link HeaderParser.parse}, the other fields contain the header.
 */
export class HeaderParser {
  whole = false;
  fin = false;
  opcode: number = OPCODE.continuation;
  /** Payload bytes of the frame. */
  length = 0;
  /** The masking key as a 32-bit integer, with its first byte in the lowest bits. */
  key = 0;

  /** The received bytes of a header that is split over several chunks. */
  readonly #split = Buffer.alloc(MAX_HEADER_BYTES);
  #splitBytes = 0;
  /** Whether a fragmented message is incomplete (§5.4). */
  #fragmented = false;

  /** Whether a header or a fragmented message has begun and is incomplete. */
  get isUnderWay(): boolean {
    return this.#splitBytes > 0 || this.#fragmented;
  }

  /**
   * Parses one header from `start` on, or the part of it that is in the chunk.
   * @returns the position after the parsed bytes: the start of the payload when {@link whole}, `end` otherwise
   * @throws CulvertError `protocol_error`
   */
  parse(chunk: Buffer, start: number, end: number): number {
    this.whole = false;
    if (this.#splitBytes === 0 && end - start >= 2) {
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
      this.#split[this.#splitBytes++] = chunk[at++] as number;
      if (this.#splitBytes === 2) this.#check(this.#split[0] as number, this.#split[1] as number);
      if (this.#splitBytes < 2 || this.#splitBytes < maskedHeaderBytes(this.#split[1] as number)) continue;
      this.#decode(this.#split, 0, this.#splitBytes);
      this.#splitBytes = 0;
      return at;
    }
    return at;
  }

  #check(first: number, second: number): void {
    if ((first & RSV) !== 0) throw protocolError('a reserved bit is set');
    const opcode = first & 0x0f;
    if (opcode >= OPCODE.close) {
      if (opcode > OPCODE.pong) throw protocolError('a reserved opcode');
      if ((first & FIN) === 0) throw protocolError('a fragmented control frame');
      if ((second & 0x7f) > MAX_CONTROL_BYTES) throw protocolError('a control frame longer than 125 bytes');
    } else if (opcode === OPCODE.continuation) {
      if (!this.#fragmented) throw protocolError('a continuation of nothing');
    } else {
      if (opcode > OPCODE.binary) throw protocolError('a reserved opcode');
      if (this.#fragmented) throw protocolError('a new message inside a fragmented one');
    }
    if ((second & MASKED) === 0) throw protocolError('an unmasked frame');
  }

  #decode(bytes: Buffer, at: number, size: number): void {
    const first = bytes[at] as number;
    this.fin = (first & FIN) !== 0;
    this.opcode = first & 0x0f;
    if (size === 6) this.length = (bytes[at + 1] as number) & 0x7f;
    else if (size === 8) this.length = bytes.readUInt16BE(at + 2);
    else {
      const high = bytes.readUInt32BE(at + 2);
      // §5.2 forbids the top bit. A frame of 2^53 bytes would take 28 years at 10 MB/s.
      if (high > 0x1f_ffff) throw protocolError('a frame longer than 2^53 bytes');
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

function protocolError(what: string): CulvertError {
  return new CulvertError('protocol_error', `The client sent ${what}.`);
}

/** The size in bytes of an unmasked header for a payload of at most 65,536 bytes. */
export function headerBytes(length: number): number {
  return length < 126 ? 2 : length < 65_536 ? 4 : 10;
}

/** Writes an unmasked header (RFC 6455 §5.2) at offset `at`, where {@link headerBytes} bytes must be free. `length` is at most 65,536. */
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

/** Encodes a complete unmasked control frame. @param payload at most {@link MAX_CONTROL_BYTES} bytes */
export function controlFrame(opcode: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(2 + payload.length);
  writeHeader(frame, 0, true, opcode, payload.length);
  frame.set(payload, 2);
  return frame;
}
