/** Bytes of a block: as much as libuv reads at once, and a third of the largest write. */
export const BLOCK_BYTES = 65_536;

/**
 * Blocks of a thread: 8 MiB of address space; only those used at the same time become resident memory. A block is taken for the moment in
 * which the other thread reads it, or for as long as a slow client is being written to; when none is free, bytes are sent as copies, at a higher cost.
 */
const BLOCKS = 128;

/** Memory of one thread, from which other threads read. Only the owning thread allocates and releases. */
export class BlockMemory {
  readonly shared = new SharedArrayBuffer(BLOCKS * BLOCK_BYTES);
  readonly #views = blockViews(this.shared);
  /** The most recently used one first: it is most likely in the processor's cache. */
  readonly #free = Array.from(this.#views.keys()).reverse();

  /** Blocks in use. */
  get taken(): number {
    return BLOCKS - this.#free.length;
  }

  /** The number of a free block; undefined when all are in use. */
  take(): number | undefined {
    return this.#free.pop();
  }

  /** Releases a block that the other thread has read. */
  give(block: number): void {
    this.#free.push(block);
  }

  bytes(block: number): Buffer {
    return viewOf(this.#views, block);
  }
}

/** The blocks in another thread's {@link BlockMemory}, by number. */
export function blockViews(shared: SharedArrayBuffer): readonly Buffer[] {
  return Array.from({ length: shared.byteLength / BLOCK_BYTES }, (_, block) =>
    Buffer.from(shared, block * BLOCK_BYTES, BLOCK_BYTES),
  );
}

/** @throws Error for an invalid block number */
export function viewOf(views: readonly Buffer[], block: number): Buffer {
  const view = views[block];
  if (view === undefined) throw new Error(`There is no block ${block}.`);
  return view;
}
