import { BLOCK_BYTES } from './block-memory.ts';
import type { Link } from './link.ts';

/** Up to this many bytes are copied into the message: no dearer than a block, and a slow client does not occupy a block for a few bytes. */
const SMALL_BYTES = 4_096;

/** A piece of collected bytes, kept until the other thread has taken it. */
interface Piece {
  readonly block: number | undefined;
  readonly bytes: Buffer;
}

/** The sending half of a forwarded connection. */
export class OutputBuffer {
  /** Bytes sent that the other thread has not passed on yet. */
  owed = 0;

  readonly #link: Link;
  readonly #connection: number;
  /** The blocks of sent pieces not yet taken, oldest first; undefined for copied ones. */
  readonly #sent: (number | undefined)[] = [];
  #open: Piece | undefined;
  #openBytes = 0;

  constructor(link: Link, connection: number) {
    this.#link = link;
    this.#connection = connection;
  }

  /** Whether the other thread has taken everything. */
  get isTaken(): boolean {
    return this.#sent.length === 0 && this.#open === undefined;
  }

  /** Adds the first `length` bytes of a chunk, without changing it, to the message sent at the end of this iteration. */
  append(chunk: Buffer, length: number): void {
    this.owed += length;
    for (let at = 0; at < length; ) {
      this.#open ??= this.#newPiece(length - at);
      const { bytes } = this.#open;
      const count = Math.min(length - at, bytes.length - this.#openBytes);
      chunk.copy(bytes, this.#openBytes, at, at + count);
      this.#openBytes += count;
      at += count;
      if (this.#openBytes === bytes.length) this.seal();
    }
  }

  /** Sends the collected bytes. */
  seal(): void {
    const piece = this.#open;
    if (piece === undefined) return;
    const length = this.#openBytes;
    this.#open = undefined;
    this.#openBytes = 0;
    if (piece.block === undefined || length <= SMALL_BYTES) {
      // A message transfers the whole buffer behind a view.
      this.#link.send(['bytes', this.#connection, new Uint8Array(piece.bytes.subarray(0, length))]);
      if (piece.block !== undefined) this.#link.memory.give(piece.block);
      this.#sent.push(undefined);
    } else {
      this.#link.send(['block', this.#connection, piece.block, length]);
      this.#sent.push(piece.block);
    }
  }

  /** Signals the end of the bytes; counts as sent until taken. */
  end(): void {
    this.seal();
    this.#link.send(['end', this.#connection]);
    this.#sent.push(undefined);
  }

  taken(items: number, passedOn: number): void {
    this.owed -= passedOn;
    for (const block of this.#sent.splice(0, items)) if (block !== undefined) this.#link.memory.give(block);
  }

  /** Releases all blocks: the other thread no longer reads them. */
  abandon(): void {
    if (this.#open?.block !== undefined) this.#link.memory.give(this.#open.block);
    this.#open = undefined;
    this.#openBytes = 0;
    this.taken(this.#sent.length, this.owed);
  }

  #newPiece(wanted: number): Piece {
    this.#link.gather(this);
    const block = this.#link.memory.take();
    if (block !== undefined) return { block, bytes: this.#link.memory.bytes(block) };
    return { block, bytes: Buffer.allocUnsafeSlow(Math.min(BLOCK_BYTES, Math.max(wanted, SMALL_BYTES))) };
  }
}
