import type { Readable, Writable } from 'node:stream';

/**
 * One direction of a relay: forwards data from one side to the other with back-pressure, counts the bytes, and ends the destination when the
 * source ends. `pipe` is not used because it would need a second listener for counting and creates closures for each stream.
 */
export class Flow {
  readonly #from: Readable;
  readonly #to: Writable;
  /** Bytes forwarded. */
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
    // A socket whose peer ended without sending data emits 'end' even if nothing reads it. It may have done so before this call.
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
    // The destination may have been ended already because its peer ended; then discard the data.
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
