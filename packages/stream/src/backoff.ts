/** Bounds of a {@link Backoff}. */
export interface BackoffOptions {
  /** Maximum of the first wait, in milliseconds. Default 500. */
  readonly minMs?: number;
  /** Maximum of every wait, in milliseconds. Default 30,000: a client reconnects within half a minute after its hub is available again. */
  readonly maxMs?: number;
  /** Returns a random number in [0, 1); tests replace it. Default `Math.random`. */
  readonly random?: () => number;
}

/**
 * Computes the wait before the next attempt: exponential with full jitter, so that devices that lost the same hub do not all
 * reconnect at the same moment.
 */
export class Backoff {
  readonly #minMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  #ceilingMs: number;

  constructor(options: BackoffOptions = {}) {
    this.#minMs = options.minMs ?? 500;
    this.#maxMs = options.maxMs ?? 30_000;
    this.#random = options.random ?? Math.random;
    this.#ceilingMs = this.#minMs;
  }

  /** Returns the next wait in milliseconds: random between 0 and a ceiling, which doubles with every call up to the maximum. */
  next(): number {
    const wait = Math.round(this.#random() * this.#ceilingMs);
    this.#ceilingMs = Math.min(this.#ceilingMs * 2, this.#maxMs);
    return wait;
  }

  /** Sets the ceiling back to the minimum. Call it after a success. */
  reset(): void {
    this.#ceilingMs = this.#minMs;
  }
}
