/** Records kept: a device's with two keys is under 1 KB, so 4 MB at most; a hub that is asked for more devices at once reads them. */
const MAX_RECORDS = 4_096;

/**
 * What was lately read of a store that only this process writes. Each handshake asks for a policy and a device, most often those of the one before,
 * and each question costs a way to the store's thread and back. A record is given again only while no write has begun since it was
 * asked for: a reader never sees less than whoever was told that a write is done.
 */
export class RecordCache<T> {
  readonly #records = new Map<string, T>();
  #writing = 0;
  /** Counts beginnings and ends of writes, by which a read knows that one came between. */
  #writes = 0;

  /** The record of `key`, which `load` reads when it is not known; what does not exist is not remembered. */
  async read(key: string, load: () => Promise<T | undefined>): Promise<T | undefined> {
    const known = this.#records.get(key);
    if (known !== undefined) return known;
    const before = this.#writes;
    const record = await load();
    if (record !== undefined && this.#writing === 0 && this.#writes === before) this.#keep(key, record);
    return record;
  }

  /** Does a write, of any record. All are forgotten, since a device's modules go with it and writes are rare beside reads. */
  async write<R>(write: () => Promise<R>): Promise<R> {
    this.#records.clear();
    this.#writing++;
    this.#writes++;
    try {
      return await write();
    } finally {
      this.#writing--;
      this.#writes++;
    }
  }

  #keep(key: string, record: T): void {
    const [oldest] = this.#records.keys();
    if (this.#records.size >= MAX_RECORDS && oldest !== undefined) this.#records.delete(oldest);
    this.#records.set(key, record);
  }
}
