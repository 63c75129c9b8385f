import { ackBytesOf } from './in-flight.ts';

/** Milliseconds after which received bytes are acknowledged, however few they are. Without it two full rings could wait for each other. */
export const ACK_DELAY_MS = 25;

const LEAST_ACK_BYTES = ackBytesOf(0);

/** Milliseconds over which the rate of reception is measured. */
const PERIOD_MS = 100;

/** Decides when received bytes are acknowledged, by the rate at which they come. */
export class AckTiming {
  readonly #now: () => number;
  #periodStart: number;
  #bytes = 0;
  #ackBytes = ackBytesOf(0);

  constructor(now: () => number) {
    this.#now = now;
    this.#periodStart = now();
  }

  /** Bytes were received; returns whether `unacknowledged` bytes must be acknowledged now. */
  received(bytes: number, unacknowledged: number): boolean {
    this.#bytes += bytes;
    if (unacknowledged < LEAST_ACK_BYTES) return false;
    const elapsed = this.#now() - this.#periodStart;
    if (elapsed >= PERIOD_MS) {
      this.#ackBytes = ackBytesOf(this.#bytes / elapsed);
      this.#periodStart += elapsed;
      this.#bytes = 0;
    }
    return unacknowledged >= this.#ackBytes;
  }
}
