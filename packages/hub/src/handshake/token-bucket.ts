/** Capacity of a bucket in milliseconds' worth of tokens: a burst of one second's worth is allowed. */
const BURST_MS = 1_000;

/** A token bucket with a burst of one second's worth. Its state is one number: the time at which the bucket is full again. */
export class TokenBucket {
  readonly #intervalMs: number;
  #fullAt = Number.NEGATIVE_INFINITY;

  /** @param perSecond tokens, at least 1 */
  constructor(perSecond: number) {
    this.#intervalMs = BURST_MS / perSecond;
  }

  /** Takes a token; false when there is none (the next is available within a second). */
  take(now: number): boolean {
    const fullAt = Math.max(this.#fullAt, now) + this.#intervalMs;
    // Half an interval of tolerance absorbs rounding of milliseconds; it is less than one token.
    if (fullAt - now > BURST_MS + this.#intervalMs / 2) return false;
    this.#fullAt = fullAt;
    return true;
  }

  /** Tokens taken and not yet refilled. */
  used(now: number): number {
    return Math.max(0, Math.round((this.#fullAt - now) / this.#intervalMs));
  }
}

/** Number of buckets above which full ones are removed: a few hundred bytes each. */
const SWEEP_AT = 1_024;

/** One token bucket per key. A full bucket needs no entry, so at most twice as many are kept as keys were used within a second. */
export class TokenBuckets {
  readonly #perSecond: number;
  readonly #buckets = new Map<string, TokenBucket>();
  #sweepAt = SWEEP_AT;

  /** @param perSecond tokens for each key */
  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  take(key: string, now: number): boolean {
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      this.#sweep(now);
      bucket = new TokenBucket(this.#perSecond);
      this.#buckets.set(key, bucket);
    }
    return bucket.take(now);
  }

  /** The largest number of tokens taken from one bucket and not yet refilled. */
  mostUsed(now: number): number {
    let most = 0;
    for (const bucket of this.#buckets.values()) most = Math.max(most, bucket.used(now));
    return most;
  }

  /** Buckets kept. */
  get size(): number {
    return this.#buckets.size;
  }

  #sweep(now: number): void {
    if (this.#buckets.size < this.#sweepAt) return;
    for (const [key, bucket] of this.#buckets) if (bucket.used(now) === 0) this.#buckets.delete(key);
    this.#sweepAt = Math.max(SWEEP_AT, 2 * this.#buckets.size);
  }
}
