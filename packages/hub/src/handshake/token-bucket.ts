/** Allows a number of events per second, and a burst. Its only state is the time at which the bucket is full again. */
export class TokenBucket {
  readonly #intervalMs: number;
  readonly #burstMs: number;
  #fullAt = Number.NEGATIVE_INFINITY;

  /**
   * @param perSecond tokens
   * @param burst tokens that a full bucket holds, at least 1; default a second's worth
   */
  constructor(perSecond: number, burst = perSecond) {
    this.#intervalMs = 1_000 / perSecond;
    this.#burstMs = burst * this.#intervalMs;
  }

  /** Takes a token. False when there is none; the next is then available within the time in which one token is refilled. */
  take(now: number): boolean {
    const fullAt = Math.max(this.#fullAt, now) + this.#intervalMs;
    // Half an interval of tolerance absorbs rounding of milliseconds; it is less than one token.
    if (fullAt - now > this.#burstMs + this.#intervalMs / 2) return false;
    this.#fullAt = fullAt;
    return true;
  }

  /** Tokens taken and not yet refilled. */
  used(now: number): number {
    return Math.max(0, Math.round((this.#fullAt - now) / this.#intervalMs));
  }
}

/** Number of buckets above which full ones are removed: a bucket takes a few hundred bytes. */
const SWEEP_AT = 1_024;

/**
 * One token bucket per key. A full bucket need not be kept, so the number of buckets is at most twice the number of keys that were used within the
 * time in which a bucket fills, or {@link SWEEP_AT} if that is more.
 */
export class TokenBuckets {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #buckets = new Map<string, TokenBucket>();
  #sweepAt = SWEEP_AT;

  /** Both parameters are those of {@link TokenBucket} and apply to each key. */
  constructor(perSecond: number, burst = perSecond) {
    this.#perSecond = perSecond;
    this.#burst = burst;
  }

  take(key: string, now: number): boolean {
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      this.#sweep(now);
      bucket = new TokenBucket(this.#perSecond, this.#burst);
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

  /** The number of buckets kept. */
  get size(): number {
    return this.#buckets.size;
  }

  #sweep(now: number): void {
    if (this.#buckets.size < this.#sweepAt) return;
    for (const [key, bucket] of this.#buckets) if (bucket.used(now) === 0) this.#buckets.delete(key);
    this.#sweepAt = Math.max(SWEEP_AT, 2 * this.#buckets.size);
  }
}
