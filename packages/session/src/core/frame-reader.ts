import { HEADER_BYTES, MAX_PAYLOAD_BYTES, readUint32 } from './frame.ts';

/**
 * Receives a whole frame. `pieces` are the parts of its payload in order, views of the chunks that were pushed; only the array itself is used again after the call.
 */
export type FrameReceiver = (type: number, connection: number, length: number, pieces: readonly Uint8Array[]) => void;

/**
 * Splits the bytes of a link into frames. The borders of chunks mean nothing. A frame is delivered when all of it has arrived, without copying
 * its payload, unless it comes in very many pieces; at most one frame is kept.
 */
export class FrameReader {
  readonly #deliver: FrameReceiver;
  readonly #header = new Uint8Array(HEADER_BYTES);
  #headerBytes = 0;
  #type = 0;
  #connection = 0;
  #length = 0;
  /** Payload bytes of the current frame that have not arrived. */
  #missing = 0;
  readonly #pieces: Uint8Array[] = [];
  #isStopped = false;
  #isHeld = false;
  /** What was not read of the chunk in which the reader was held. */
  #rest: Uint8Array | undefined;

  constructor(deliver: FrameReceiver) {
    this.#deliver = deliver;
  }

  /** Drops the unfinished frame and everything that is pushed from now on, also the rest of the chunk that is being read. */
  stop(): void {
    this.#isStopped = true;
    this.#pieces.length = 0;
    this.#rest = undefined;
  }

  /** Delivers no further frame until {@link release}, not even of the chunk that is being read. Nothing may be pushed until then. */
  hold(): void {
    this.#isHeld = true;
  }

  /** Reads on. @returns as {@link push} */
  release(): boolean {
    this.#isHeld = false;
    const rest = this.#rest;
    this.#rest = undefined;
    return rest === undefined || this.push(rest);
  }

  /** @returns false if a frame is longer than allowed; the link is then unusable */
  push(chunk: Uint8Array): boolean {
    let at = 0;
    while (at < chunk.length && !this.#isStopped) {
      if (this.#isHeld) {
        this.#rest = chunk.subarray(at);
        return true;
      }
      if (this.#headerBytes < HEADER_BYTES) {
        const end = Math.min(chunk.length, at + HEADER_BYTES - this.#headerBytes);
        for (; at < end; at++) this.#header[this.#headerBytes++] = chunk[at] as number;
        if (this.#headerBytes < HEADER_BYTES) return true;
        if (!this.#startFrame()) return false;
      } else {
        const end = Math.min(chunk.length, at + this.#missing);
        this.#pieces.push(chunk.subarray(at, end));
        this.#missing -= end - at;
        if (this.#pieces.length === MAX_PIECES) this.#joinPieces();
        at = end;
      }
      if (this.#missing === 0) this.#finishFrame();
    }
    return true;
  }

  #startFrame(): boolean {
    const word = readUint32(this.#header, 0);
    this.#type = word >>> 24;
    this.#length = word & 0xffffff;
    this.#missing = this.#length;
    this.#connection = readUint32(this.#header, 4);
    return this.#length <= MAX_PAYLOAD_BYTES;
  }

  /** Each piece keeps the chunk that it is a view of: a peer that sends single bytes could make a frame cost a thousand times its length. */
  #joinPieces(): void {
    const joined = joinPieces(this.#length - this.#missing, this.#pieces);
    this.#pieces.length = 0;
    this.#pieces.push(joined);
  }

  #finishFrame(): void {
    this.#headerBytes = 0;
    this.#deliver(this.#type, this.#connection, this.#length, this.#pieces);
    this.#pieces.length = 0;
  }
}

/** Pieces of one frame that are kept as views. A sender's frames arrive in two or three. */
const MAX_PIECES = 64;

/** The payload in one array; copied only if it has more than one piece. */
export function joinPieces(length: number, pieces: readonly Uint8Array[]): Uint8Array {
  const [first] = pieces;
  if (first !== undefined && pieces.length === 1) return first;
  const joined = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}
