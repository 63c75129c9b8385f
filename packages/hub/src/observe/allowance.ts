/** So many at once, and then one an interval. Kept as the one moment at which all are there again. */
export class Allowance {
  readonly #intervalMs: number;
  readonly #burstMs: number;
  #fullAt = Number.NEGATIVE_INFINITY;

  /**
   * @param burst how many may be taken at once
   * @param intervalMs milliseconds in which one comes back
   */
  constructor(burst: number, intervalMs: number) {
    this.#intervalMs = intervalMs;
    this.#burstMs = burst * intervalMs;
  }

  /** Takes one; false when there is none. */
  take(now: number): boolean {
    if (this.waitMs(now) > 0) return false;
    this.#fullAt = this.#spentUntil(now) + this.#intervalMs;
    return true;
  }

  /** Milliseconds until there is one; 0 when there is. */
  waitMs(now: number): number {
    return Math.max(0, this.#spentUntil(now) + this.#intervalMs - this.#burstMs - now);
  }

  /** Whether nothing is taken that has not come back. */
  isFull(now: number): boolean {
    return this.#spentUntil(now) === now;
  }

  /** No later than all of them take to come back: a clock that was set back must not shut anybody out. */
  #spentUntil(now: number): number {
    this.#fullAt = Math.min(Math.max(this.#fullAt, now), now + this.#burstMs);
    return this.#fullAt;
  }
}

/** Entries kept by key at which those that are no longer needed are looked for. */
const SWEEP_AT = 1_000;

/** A value for each key, as long as it is needed; as many as are needed at once, twice that or {@link SWEEP_AT} at most. */
export class KeyedEntries<T> {
  readonly #entries = new Map<string, T>();
  readonly #create: () => T;
  readonly #isNeeded: (entry: T, now: number) => boolean;
  #sweepAt = SWEEP_AT;

  constructor(create: () => T, isNeeded: (entry: T, now: number) => boolean) {
    this.#create = create;
    this.#isNeeded = isNeeded;
  }

  /** The key's entry, made if there is none. */
  of(key: string, now: number): T {
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    this.#sweep(now);
    const entry = this.#create();
    this.#entries.set(key, entry);
    return entry;
  }

  /** All of them, the oldest first. */
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
