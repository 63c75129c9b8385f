import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { CLOSE_CAUSES, CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { BufferPool } from '../buffer-pool.ts';
import { closeFrame } from '../close-frame.ts';
import { lingeringClose } from '../lingering-close.ts';
import type { ReadScheduler } from '../read-scheduler.ts';
import { refusal } from '../refusal.ts';
import { ThrottledReader } from '../throttled-reader.ts';
import type { Link, LinkEnd } from './link.ts';
import { OutputBuffer } from './output-buffer.ts';

/** Maximum bytes of a client in transit to the other thread or waiting there before reading pauses: two blocks, one to fill and one to empty. */
const WINDOW_BYTES = 131_072;

export interface ForwardedSocketOptions {
  readonly memory: BufferPool | undefined;
  readonly readScheduler: ReadScheduler;
  readonly clock: Clock;
  readonly lingerMs: number;
}

/** A client's connection at the thread that accepted it, after it was forwarded: passes bytes only. */
export class ForwardedSocket implements LinkEnd {
  readonly #socket: Duplex;
  readonly #link: Link;
  readonly #connection: number;
  readonly #options: ForwardedSocketOptions;
  readonly #outputBuffer: OutputBuffer;
  readonly #reading: ThrottledReader;
  /** Whether the other thread has answered the upgrade. */
  #answered = false;
  /** Whether the other thread has sent its last byte. */
  #over = false;
  #isPaused = false;
  #isLost = false;

  /** @param socket its 'error' event must have a listener already */
  constructor(socket: Duplex, link: Link, connection: number, options: ForwardedSocketOptions) {
    this.#socket = socket;
    this.#link = link;
    this.#connection = connection;
    this.#options = options;
    this.#outputBuffer = new OutputBuffer(link, connection);
    this.#reading = new ThrottledReader(socket, options.readScheduler);
    link.attach(connection, this);
    if (socket.destroyed) queueMicrotask(this.#onClose);
    else socket.once('close', this.#onClose);
    socket.once('end', () => {
      if (!this.#isLost) this.#outputBuffer.end();
    });
    socket.on('data', (chunk: Buffer) => this.#onData(chunk, chunk.length));
    const { memory } = options;
    if (memory !== undefined)
      this.#reading.reuseReadBuffer(memory.input, (length) => this.#onData(memory.input, length));
  }

  onBytes(bytes: Buffer): void {
    // As in `FrameWriter`: an empty write would have TLS read a record over another.
    assert(bytes.length > 0, 'an empty write');
    this.#answered = true;
    this.#socket.write(bytes, () => this.#link.send(['taken', this.#connection, 1, bytes.length]));
  }

  onEnded(): void {
    this.#over = true;
    this.#socket.end(() => this.#link.send(['taken', this.#connection, 1, 0]));
  }

  onTaken(items: number, passedOn: number): void {
    this.#outputBuffer.taken(items, passedOn);
    if (this.#socket.closed && this.#outputBuffer.isTaken) this.#link.detach(this.#connection);
    if (!this.#isPaused || this.#outputBuffer.owed >= WINDOW_BYTES) return;
    this.#isPaused = false;
    this.#reading.resume();
  }

  onClosed(): void {
    this.#socket.destroy();
  }

  /** Whether the written bytes end at a frame boundary: see `RemoteSocket`. */
  onLost(): void {
    this.#outputBuffer.abandon();
    if (this.#socket.destroyed) return;
    const error = new CulvertError('stream_lost', CLOSE_CAUSES.gateway_failed);
    if (!this.#over && this.#socket.writable) {
      const { close: code } = error.row;
      this.#socket.write(this.#answered ? closeFrame({ code, reason: error.message }) : refusal(error));
    }
    this.#over = true;
    this.#isLost = true;
    lingeringClose(this.#socket, this.#options.clock, this.#options.lingerMs, 'now');
  }

  #onData(chunk: Buffer, length: number): void {
    this.#reading.note(length);
    if (this.#isLost) return;
    this.#outputBuffer.append(chunk, length);
    if (this.#outputBuffer.owed < WINDOW_BYTES) return;
    this.#isPaused = true;
    this.#reading.pause();
  }

  readonly #onClose = (): void => {
    this.#outputBuffer.seal();
    this.#link.send(['closed', this.#connection]);
    if (this.#outputBuffer.isTaken) this.#link.detach(this.#connection);
  };
}
