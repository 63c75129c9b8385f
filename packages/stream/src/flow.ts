import type { Readable, Writable } from 'node:stream';

/**
 * One direction of what is carried: what one side sends goes to the other as fast as that takes it, counted, and its end is passed on. By hand
 * and not by `pipe`, which needs a second listener to count and makes closures for each.
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
    // It may have been paused by whoever held it before.
    else this.#from.resume();
    // A socket whose peer ends without a word tells so whether or not anybody reads, and may have told it before.
    if (this.#from.readableEnded) this.#ended();
  }

  /** Hands on nothing more; the source is paused. Idempotent. */
  stop(): void {
    this.#to.off('drain', this.#drained);
    this.#from.off('end', this.#ended);
    this.#from.off('data', this.#forward);
    this.#from.pause();
  }

  readonly #forward = (chunk: Buffer): void => {
    // It may have ended by itself, as a stream does whose peer has; there is nobody to tell.
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
