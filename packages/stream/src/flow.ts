import type { Readable, Writable } from 'node:stream';

/**
 * One direction of a relay: writes what one side sends to the other, with back-pressure, counts the bytes, and passes the end on. Written by hand
 * because `pipe` needs a second listener to count, and makes closures for each stream.
 */
export class Flow {
  readonly #from: Readable;
  readonly #to: Writable;
  /** Bytes handed on. */
  bytes = 0;

  constructor(from: Readable, to: Writable) {
    this.#from = from;
    this.#to = to;
  }

  start(): void {
    this.#to.on('drain', this.#drained);
    this.#from.on('end', this.#ended);
    this.#from.on('data', this.#forward);
    if (this.#to.writableNeedDrain) this.#from.pause();
    // The source may have been paused by its previous user.
    else this.#from.resume();
    // A socket whose peer ended without sending data emits 'end' even if nobody reads, and may have emitted it before.
    if (this.#from.readableEnded) this.#ended();
  }

  /** Stops relaying and pauses the source. Idempotent. */
  stop(): void {
    this.#to.off('drain', this.#drained);
    this.#from.off('end', this.#ended);
    this.#from.off('data', this.#forward);
    this.#from.pause();
  }

  readonly #forward = (chunk: Buffer): void => {
    // The destination may have ended by itself, because its peer ended; drop the data.
    if (this.#to.writableEnded) return;
    this.bytes += chunk.length;
    if (!this.#to.write(chunk)) this.#from.pause();
  };

  readonly #drained = (): void => {
    this.#from.resume();
  };

  readonly #ended = (): void => {
    this.#to.end();
  };
}
