import { Duplex } from 'node:stream';
import type { Link, LinkEnd } from './link.ts';
import { OutputBuffer } from './output-buffer.ts';

/** Maximum bytes in transit to a client: the longest write and a block, so that threads need not wait for each other after each write. */
const WINDOW_BYTES = 262_144;

/** Writes up to this size finish only when the operating system has accepted them and everything before: the sender of a short or final message needs to know. */
const SMALL_BYTES = 4_096;

/**
 * A client's connection accepted by another thread: bytes written here are written there, bytes from the client arrive here, and it
 * ends and closes as the socket there does. A write finishes when the operating system has accepted it; a longer one already when so little is
 * in transit that the other thread would otherwise run dry.
 */
export class RemoteSocket extends Duplex implements LinkEnd {
  /** Receives the client's bytes instead of 'data' events; they are only valid during the call. */
  receive: ((bytes: Buffer) => void) | undefined;

  readonly #link: Link;
  readonly #connection: number;
  readonly #outputBuffer: OutputBuffer;
  #written: ((error?: Error | null) => void) | undefined;
  /** The write under way is finished with the last byte of it. */
  #needsAll = false;
  /** Bytes waiting here while reading is paused; the other thread is told when they are read. */
  #waiting = 0;
  /** The client's socket is closed, or its thread has died. */
  #isGone = false;

  constructor(link: Link, connection: number) {
    // One byte, so that every waiting byte counts against what the other thread may send.
    super({ allowHalfOpen: true, readableHighWaterMark: 1 });
    this.#link = link;
    this.#connection = connection;
    this.#outputBuffer = new OutputBuffer(link, connection);
    link.attach(connection, this);
  }

  onBytes(bytes: Buffer): void {
    const { length } = bytes;
    if (this.destroyed) {
      this.#tell(1, length);
    } else if (this.receive !== undefined && this.readableFlowing === true && this.readableLength === 0) {
      this.receive(bytes);
      this.#tell(1, length);
    } else {
      this.#waiting += length;
      // Copied, so that a paused client occupies no block.
      this.push(Buffer.from(bytes));
      this.#tell(1, 0);
    }
  }

  onEnded(): void {
    this.#tell(1, 0);
    if (!this.destroyed) this.push(null);
  }

  onTaken(items: number, passedOn: number): void {
    this.#outputBuffer.taken(items, passedOn);
    this.#finishWrite();
  }

  onClosed(): void {
    this.#isGone = true;
    this.#link.detach(this.#connection);
    this.#outputBuffer.abandon();
    this.destroy();
  }

  onLost(): void {
    this.onClosed();
  }

  override _read(): void {
    if (this.#waiting === 0) return;
    this.#tell(0, this.#waiting);
    this.#waiting = 0;
  }

  /** Sent in one message: if this thread dies, the other one is at a frame boundary. */
  override _write(chunk: Buffer, _encoding: BufferEncoding, written: (error?: Error | null) => void): void {
    this.#written = written;
    this.#outputBuffer.append(chunk, chunk.length);
    this.#outputBuffer.seal();
    this.#needsAll = chunk.length <= SMALL_BYTES;
    this.#finishWrite();
  }

  override _final(finished: (error?: Error | null) => void): void {
    this.#written = finished;
    this.#needsAll = true;
    this.#outputBuffer.end();
  }

  override _destroy(error: Error | null, destroyed: (error?: Error | null) => void): void {
    // Blocks are kept until the other thread says that its socket, which may be writing from them, is closed.
    if (!this.#isGone) this.#link.send(['closed', this.#connection]);
    this.#written = undefined;
    destroyed(error);
  }

  #finishWrite(): void {
    if (this.#needsAll ? !this.#outputBuffer.isTaken : this.#outputBuffer.owed >= WINDOW_BYTES) return;
    const written = this.#written;
    this.#written = undefined;
    written?.();
  }

  #tell(items: number, passedOn: number): void {
    if (!this.#isGone) this.#link.send(['taken', this.#connection, items, passedOn]);
  }
}
