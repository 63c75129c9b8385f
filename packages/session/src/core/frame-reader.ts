import { HEADER_BYTES, MAX_PAYLOAD_BYTES, readUint32 } from './frame.ts';

/**
 * Receives a whole frame. `pieces` are the parts of its payload in order, views of the chunks that were pushed; only the array itself is used again after the call.
 */
export type FrameReceiver = (type: number, connection: number, length: number, pieces: readonly Uint8Array[]) => void;

/**
 * Splits the bytes of a link into frames. The borders of chunks mean nothing. A frame is delivered when all of it has arrived, without copying
 * its payload; at most one frame is kept.
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

  constructor(deliver: FrameReceiver) {
    this.#deliver = deliver;
  }

  /** Drops the unfinished frame and everything that is pushed from now on, also the rest of the chunk that is being read. */
  stop(): void {
    this.#isStopped = true;
    this.#pieces.length = 0;
  }

  /** @returns false if a frame is longer than allowed; the link is then unusable */
  push(chunk: Uint8Array): boolean {
    let at = 0;
    while (at < chunk.length && !this.#isStopped) {
      if (this.#headerBytes < HEADER_BYTES) {
        const end = Math.min(chunk.length, at + HEADER_BYTES - this.#headerBytes);
        for (; at < end; at++) this.#header[this.#headerBytes++] = chunk[at] as number;
        if (this.#headerBytes < HEADER_BYTES) return true;
        if (!this.#startFrame()) return false;
      } else {
        const end = Math.min(chunk.length, at + this.#missing);
        this.#pieces.push(chunk.subarray(at, end));
        this.#missing -= end - at;
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

  #finishFrame(): void {
    this.#headerBytes = 0;
    this.#deliver(this.#type, this.#connection, this.#length, this.#pieces);
    this.#pieces.length = 0;
  }
}

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
