import { FAST_ACK_BYTES, FAST_BYTES_PER_SECOND, SLOW_ACK_BYTES } from './in-flight.ts';

/** Milliseconds after which received bytes are acknowledged, however few they are. Without it two full rings could wait for each other. */
export const ACK_DELAY_MS = 25;

/** Milliseconds over which the rate of reception is measured. */
const PERIOD_MS = 100;

/**
 * Decides when received bytes are acknowledged: each 16 KiB on links below 10 MB/s, so that the sender can keep little in flight, and each
 * 64 KiB on faster ones.
 */
export class AckTiming {
  readonly #now: () => number;
  #periodStart: number;
  #bytes = 0;
  #isFast = false;

  constructor(now: () => number) {
    this.#now = now;
    this.#periodStart = now();
  }

  /** Bytes were received; returns whether `unacknowledged` bytes must be acknowledged now. */
  received(bytes: number, unacknowledged: number): boolean {
    this.#bytes += bytes;
    if (unacknowledged < SLOW_ACK_BYTES) return false;
    const elapsed = this.#now() - this.#periodStart;
    if (elapsed >= PERIOD_MS) {
      this.#isFast = (this.#bytes / elapsed) * 1000 >= FAST_BYTES_PER_SECOND;
      this.#periodStart += elapsed;
      this.#bytes = 0;
    }
    return unacknowledged >= (this.#isFast ? FAST_ACK_BYTES : SLOW_ACK_BYTES);
  }
}
