import type { Lookup } from './registry.ts';

/** Maximum cached records. A device's record with two keys has less than 1 KB, so they need 4 MB at most. Further records are read from the store. */
const MAX_RECORDS = 4_096;

/** Maximum cached lookups that ended in a refusal, 4 MB at most. Counted apart from the records above, so that many invented ids evict none of those. */
const MAX_REFUSED = 4_096;

/** The keys whose records a write may change: one key, or all keys with a prefix. */
export type WriteScope = { readonly key: string } | { readonly prefix: string };

/** The pending loads of one key. `stale`: a write of that key has begun or ended since the first of them began. */
interface Reading {
  readers: number;
  stale: boolean;
}

/**
 * A cache of records recently read from a store that only this process writes. Each handshake reads a policy and a device, often the same as the
 * handshake before, and each read costs a message to the store's thread and back. A record is cached only if no write of it was in progress while it
 * was loaded, and a write removes it from the cache. So a read that begins after a write has completed never returns an older record.
 */
export class RecordCache<T> {
  readonly #records = new Map<string, T>();
  /** Lookups that ended in a refusal: the record by key, or undefined if none exists. Both kinds are added and evicted in the same way. */
  readonly #refused = new Map<string, T | undefined>();
  /** The pending loads by key. Their number is limited by the store's queue. */
  readonly #readings = new Map<string, Reading>();
  readonly #writing = new Set<WriteScope>();

  /** Returns the record of `key`; calls `load` if it is not cached. */
  async read(key: string, load: () => Promise<T | undefined>): Promise<T | undefined> {
    return this.#records.get(key) ?? this.#refused.get(key) ?? (await this.#load(key, load)).record;
  }

  /**
   * Like `read`, for a client that is not authenticated yet. The number of loads for a refused key depends neither on whether the record exists nor on
   * whether it is cached: one load at the first refusal, none at later ones.
   */
  async lookup(key: string, load: () => Promise<T | undefined>): Promise<Lookup<T>> {
    const known = this.#records.get(key) ?? this.#refused.get(key);
    if (known !== undefined || this.#refused.has(key))
      return { record: known, refused: () => this.#rememberRefusal(key, load) };
    const { record, current } = await this.#load(key, load);
    // A client that claims an identity that does not exist is always refused.
    if (record === undefined && current) keep(this.#refused, key, record, MAX_REFUSED);
    return {
      record,
      refused: async () => {
        // The record was loaded for this lookup, so the refusal needs no further load.
        if (this.#records.get(key) === record && record !== undefined) keep(this.#refused, key, record, MAX_REFUSED);
      },
    };
  }

  /** Whether a record of `key` is cached; does not read the store. */
  remembers(key: string): boolean {
    return this.#records.has(key) || this.#refused.get(key) !== undefined;
  }

  /** Runs a write that changes only records in `scope`. Removes these from the cache, even if the write fails. */
  async write<R>(scope: WriteScope, write: () => Promise<R>): Promise<R> {
    this.#forget(scope);
    this.#writing.add(scope);
    try {
      return await write();
    } finally {
      this.#writing.delete(scope);
      this.#forget(scope);
    }
  }

  async #rememberRefusal(key: string, load: () => Promise<T | undefined>): Promise<void> {
    if (this.#refused.has(key)) return;
    const { record, current } = await this.#load(key, load);
    if (current) keep(this.#refused, key, record, MAX_REFUSED);
  }

  /** Loads the record from the store and caches it if it exists. `current`: no write of it was in progress during the load. */
  async #load(
    key: string,
    load: () => Promise<T | undefined>,
  ): Promise<{ readonly record: T | undefined; readonly current: boolean }> {
    const reading = this.#readings.get(key) ?? { readers: 0, stale: false };
    this.#readings.set(key, reading);
    reading.readers++;
    try {
      const record = await load();
      const current = !reading.stale && ![...this.#writing].some((scope) => covers(scope, key));
      if (record !== undefined && current) keep(this.#records, key, record, MAX_RECORDS);
      return { record, current };
    } finally {
      reading.readers--;
      if (reading.readers === 0 && this.#readings.get(key) === reading) this.#readings.delete(key);
    }
  }

  #forget(scope: WriteScope): void {
    const affected =
      'key' in scope
        ? [scope.key]
        : [this.#records, this.#refused, this.#readings].flatMap((map) =>
            [...map.keys()].filter((key) => covers(scope, key)),
          );
    for (const key of affected) {
      this.#records.delete(key);
      this.#refused.delete(key);
      const reading = this.#readings.get(key);
      if (reading !== undefined) reading.stale = true;
      // Loads that begin after this get an entry of their own.
      this.#readings.delete(key);
    }
  }
}

function covers(scope: WriteScope, key: string): boolean {
  return 'key' in scope ? scope.key === key : key.startsWith(scope.prefix);
}

/** Adds an entry; if the map already has `max` entries, removes the oldest one. */
function keep<V>(map: Map<string, V>, key: string, value: V, max: number): void {
  const [oldest] = map.keys();
  if (map.size >= max && oldest !== undefined && !map.has(key)) map.delete(oldest);
  map.set(key, value);
}
