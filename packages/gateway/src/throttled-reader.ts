import type { Duplex } from 'node:stream';
import type { ReadScheduler, ScheduledReader } from './read-scheduler.ts';
import { reuseReadBuffer } from './reused-read-buffer.ts';

/** Decides whether a socket is read: not while its owner has paused it, and not while the scheduler has it queued. */
export class ThrottledReader implements ScheduledReader {
  iteration = 0;
  readBytes = 0;
  waits = false;

  readonly #socket: Duplex;
  readonly #scheduler: ReadScheduler;
  #paused = false;
  /** Whether each read callback returns whether to continue, which costs less than pausing the stream. */
  #tellsNode = false;

  constructor(socket: Duplex, scheduler: ReadScheduler) {
    this.#socket = socket;
    this.#scheduler = scheduler;
  }

  /** Makes the socket read into `buffer` if possible: see {@link reuseReadBuffer}. */
  reuseReadBuffer(buffer: Buffer, receive: (length: number) => void): void {
    this.#tellsNode = reuseReadBuffer(this.#socket, buffer, (length) => {
      receive(length);
      return !this.waits;
    });
  }

  /** Reports the number of bytes read. */
  note(length: number): void {
    this.#scheduler.note(this, length);
  }

  pause(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#scheduler.ask(this);
  }

  stop(): void {
    if (!this.#tellsNode) this.#socket.pause();
  }

  start(): void {
    if (!this.#paused) this.#socket.resume();
  }
}
