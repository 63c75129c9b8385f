/**
 * Memory that several sessions share: rings, queues and receive windows beyond their first size are taken from it. When it is used up nothing
 * grows further; nothing that was given is taken back.
 */
export class Budget {
  #free: number;

  /** @param bytes all that may be in use at once */
  constructor(bytes: number) {
    this.#free = bytes;
  }

  get free(): number {
    return this.#free;
  }

  /** Takes bytes if they are free. */
  take(bytes: number): boolean {
    if (bytes > this.#free) return false;
    this.#free -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#free += bytes;
  }
}
