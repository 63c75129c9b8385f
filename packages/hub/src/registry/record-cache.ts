import type { Lookup } from './registry.ts';

/** Records kept: a device's with two keys is under 1 KB, so 4 MB at most; a hub that is asked for more devices at once reads them. */
const MAX_RECORDS = 4_096;

/** Keys kept for which somebody was refused, apart from the records above so that a flood of made-up ids drives none of them out; 4 MB at most. */
const MAX_REFUSED = 4_096;

/** Which keys a write may change: one, or all that begin so. */
export type WriteScope = { readonly key: string } | { readonly prefix: string };

/** Reads of one key that are under way; `stale` once a write of it has begun or ended since the first. */
interface Reading {
  readers: number;
  stale: boolean;
}

/**
 * What was lately read of a store that only this process writes. Each handshake asks for a policy and a device, most often those of the one before,
 * and each question costs a way to the store's thread and back. A record is given again only while no write of it has begun since it was
 * asked for: a reader never sees less than whoever was told that a write is done.
 */
export class RecordCache<T> {
  readonly #records = new Map<string, T>();
  /** Keys for which somebody was refused, with what was found. Existing and absent ones are entered and dropped alike. */
  readonly #refused = new Map<string, T | undefined>();
  /** No more than the store lets wait. */
  readonly #readings = new Map<string, Reading>();
  readonly #writing = new Set<WriteScope>();

  /** The record of `key`, which `load` reads when it is not known. */
  async read(key: string, load: () => Promise<T | undefined>): Promise<T | undefined> {
    return this.#records.get(key) ?? this.#refused.get(key) ?? (await this.#load(key, load)).record;
  }

  /**
   * As `read`, for a client that is not authenticated yet. The number of loads for a refused key does not depend on whether there is a record,
   * nor on whether others have asked for it: one at the first refusal, none at those after it.
   */
  async lookup(key: string, load: () => Promise<T | undefined>): Promise<Lookup<T>> {
    const known = this.#records.get(key) ?? this.#refused.get(key);
    if (known !== undefined || this.#refused.has(key))
      return { record: known, refused: () => this.#rememberRefusal(key, load) };
    const { record, current } = await this.#load(key, load);
    // There is no way to be let in as what does not exist, so this is the refusal.
    if (record === undefined && current) keep(this.#refused, key, record, MAX_REFUSED);
    return {
      record,
      refused: async () => {
        // It was loaded for this client: that was the one load.
        if (this.#records.get(key) === record && record !== undefined) keep(this.#refused, key, record, MAX_REFUSED);
      },
    };
  }

  /** Whether there is a record, as far as is known without asking. */
  remembers(key: string): boolean {
    return this.#records.has(key) || this.#refused.get(key) !== undefined;
  }

  /** Does a write that changes no other records than those of `scope`, which are forgotten, also when it fails. */
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

  /** Reads it of the store and keeps it if it exists. `current`: no write of it came between. */
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
      // Later readers are not among those.
      this.#readings.delete(key);
    }
  }
}

function covers(scope: WriteScope, key: string): boolean {
  return 'key' in scope ? scope.key === key : key.startsWith(scope.prefix);
}

/** The oldest entry makes room. */
function keep<V>(map: Map<string, V>, key: string, value: V, max: number): void {
  const [oldest] = map.keys();
  if (map.size >= max && oldest !== undefined && !map.has(key)) map.delete(oldest);
  map.set(key, value);
}
