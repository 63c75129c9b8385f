/** Bounds of a {@link Backoff}. */
export interface BackoffOptions {
  /** The first wait is at most this, in milliseconds. Default 500. */
  readonly minMs?: number;
  /** No wait is longer than this, in milliseconds. Default 30,000: a returning hub is found again within half a minute. */
  readonly maxMs?: number;
  /** A number in [0, 1), for tests. Default `Math.random`. */
  readonly random?: () => number;
}

/**
 * Computes the wait before the next attempt: exponential with full jitter, so that a thousand devices that lost the same hub do not
 * reconnect at the same instant.
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

  /** The next wait in milliseconds: random between 0 and a ceiling that doubles with every call up to the maximum. */
  next(): number {
    const wait = Math.round(this.#random() * this.#ceilingMs);
    this.#ceilingMs = Math.min(this.#ceilingMs * 2, this.#maxMs);
    return wait;
  }

  /** Starts from the minimum again, after a success. */
  reset(): void {
    this.#ceilingMs = this.#minMs;
  }
}
