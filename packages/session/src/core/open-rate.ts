/** Connections that may be opened and reset again without delay. */
const BURST = 1_000;
/** Further ones in a second. */
const PER_SECOND = 200;

/**
 * Limits connections that the peer resets before they were answered: each has cost an attempt to connect, and the limit on open connections does
 * not count it. Connections that are answered are not limited here.
 */
export class OpenRate {
  readonly #now: () => number;
  #tokens = BURST;
  #updatedAt: number;

  constructor(now: () => number) {
    this.#now = now;
    this.#updatedAt = now();
  }

  /** Whether the next connection may be tried. */
  get allows(): boolean {
    this.#refill();
    return this.#tokens >= 1;
  }

  /** A connection was reset before it was answered. */
  wasReset(): void {
    this.#refill();
    this.#tokens = Math.max(0, this.#tokens - 1);
  }

  #refill(): void {
    const now = this.#now();
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#updatedAt) * PER_SECOND) / 1000);
    this.#updatedAt = now;
  }
}
