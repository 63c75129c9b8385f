/** Milliseconds' worth of tokens a bucket holds: what is asked for in a burst is let through if the second as a whole allows it. */
const BURST_MS = 1_000;

/** Lets through so many a second, bursts of one second's worth included. Kept as the one moment at which the bucket is full again. */
export class TokenBucket {
  readonly #intervalMs: number;
  #fullAt = Number.NEGATIVE_INFINITY;

  /** @param perSecond tokens, at least 1 */
  constructor(perSecond: number) {
    this.#intervalMs = BURST_MS / perSecond;
  }

  /** Takes a token; false when there is none, and then the next is there within a second. */
  take(now: number): boolean {
    const fullAt = Math.max(this.#fullAt, now) + this.#intervalMs;
    // Half an interval is no whole token: it only swallows what fractions of milliseconds add up to.
    if (fullAt - now > BURST_MS + this.#intervalMs / 2) return false;
    this.#fullAt = fullAt;
    return true;
  }

  /** Tokens taken that have not come back yet. */
  used(now: number): number {
    return Math.max(0, Math.round((this.#fullAt - now) / this.#intervalMs));
  }
}

/** Buckets kept before the full ones are looked for: a few hundred bytes each. */
const SWEEP_AT = 1_024;

/** A bucket per key. A full one is as good as none, so as many are kept as keys were used within a second, twice that at most. */
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

  /** The most tokens taken of one bucket that have not come back yet. */
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
