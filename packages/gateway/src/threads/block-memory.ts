/** Bytes of a block: as much as libuv reads at once, and a third of the most that is written at once. */
export const BLOCK_BYTES = 65_536;

/**
 * Blocks of a thread: 8 MiB of address space, of which only what is in use together becomes memory. A block is taken for the moment in
 * which the other thread fetches it, or as long as a slow client is being written to; beyond, bytes are sent as copies, at more cost.
 */
const BLOCKS = 128;

/** Memory of one thread from which other threads read what it hands them. Only the thread it belongs to takes and gives back. */
export class BlockMemory {
  readonly shared = new SharedArrayBuffer(BLOCKS * BLOCK_BYTES);
  readonly #views = blockViews(this.shared);
  /** The one that was in use last is the likeliest to be in the processor's cache. */
  readonly #free = Array.from(this.#views.keys()).reverse();

  /** Blocks in use. */
  get taken(): number {
    return BLOCKS - this.#free.length;
  }

  /** The number of a free block; undefined when all are in use. */
  take(): number | undefined {
    return this.#free.pop();
  }

  /** Takes a block back: the other thread is done with it. */
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

/** @throws Error for a number that no block has */
export function viewOf(views: readonly Buffer[], block: number): Buffer {
  const view = views[block];
  if (view === undefined) throw new Error(`There is no block ${block}.`);
  return view;
}
