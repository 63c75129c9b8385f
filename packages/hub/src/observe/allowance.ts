/**
 * A token bucket: it holds up to `burst` tokens, and gets one token back per interval. Its only state is the time at which the bucket will be full
 * again.
 */
export class Allowance {
  readonly #intervalMs: number;
  readonly #burstMs: number;
  #fullAt = Number.NEGATIVE_INFINITY;

  /**
   * @param burst the number of tokens in a full bucket
   * @param intervalMs milliseconds in which one token is added
   */
  constructor(burst: number, intervalMs: number) {
    this.#intervalMs = intervalMs;
    this.#burstMs = burst * intervalMs;
  }

  /** Takes one token; false if the bucket is empty. */
  take(now: number): boolean {
    if (this.waitMs(now) > 0) return false;
    this.#fullAt = this.#fullAgainAt(now) + this.#intervalMs;
    return true;
  }

  /** Milliseconds until a token is available; 0 if one is available now. */
  waitMs(now: number): number {
    return Math.max(0, this.#fullAgainAt(now) + this.#intervalMs - this.#burstMs - now);
  }

  /** Whether the bucket is full. */
  isFull(now: number): boolean {
    return this.#fullAgainAt(now) === now;
  }

  /**
   * When the bucket will be full again: at the latest after the time that an empty bucket takes to fill, so that a clock that was set back does not
   * block a client for longer.
   */
  #fullAgainAt(now: number): number {
    this.#fullAt = Math.min(Math.max(this.#fullAt, now), now + this.#burstMs);
    return this.#fullAt;
  }
}

/** Minimum number of entries at which entries that are no longer needed are searched for and deleted. */
const SWEEP_AT = 1_000;

/**
 * One entry per key, kept for as long as it is needed. An entry that is no longer needed stays until the next sweep, so that the map holds at most
 * twice as many entries as were needed at the last sweep, or {@link SWEEP_AT} if that is more.
 */
export class KeyedEntries<T> {
  readonly #entries = new Map<string, T>();
  readonly #create: () => T;
  readonly #isNeeded: (entry: T, now: number) => boolean;
  #sweepAt = SWEEP_AT;

  constructor(create: () => T, isNeeded: (entry: T, now: number) => boolean) {
    this.#create = create;
    this.#isNeeded = isNeeded;
  }

  /** The entry of `key`, created if it does not exist. */
  of(key: string, now: number): T {
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    this.#sweep(now);
    const entry = this.#create();
    this.#entries.set(key, entry);
    return entry;
  }

  /** All entries, oldest first. */
  values(): IterableIterator<T> {
    return this.#entries.values();
  }

  get size(): number {
    return this.#entries.size;
  }

  #sweep(now: number): void {
    if (this.#entries.size < this.#sweepAt) return;
    for (const [key, entry] of this.#entries) if (!this.#isNeeded(entry, now)) this.#entries.delete(key);
    this.#sweepAt = Math.max(SWEEP_AT, 2 * this.#entries.size);
  }
}
