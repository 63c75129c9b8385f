import { unmaskModule } from './unmask-module.ts';

/** Bytes of a page of WebAssembly's memory. */
const PAGE_BYTES = 65_536;

/** Pages of the shared read buffer: as much as libuv reads at once from a connection without TLS; a TLS record is a quarter of it. */
const INPUT_PAGES = 1;

/** Pages of a pooled buffer: two of the longest units and part of a third, so that the bytes of an event-loop iteration leave in one write. */
const BUFFER_PAGES = 3;

/**
 * Maximum pooled buffers, 24 MiB of address space; only those used at the same time become resident memory. They serve streams that are busy
 * in the same event-loop iteration and those that wait for a slow client; further streams use ordinary buffers, at a higher cost.
 */
const MAX_BUFFERS = 128;

/** A piece of the memory that collects the frames of one event-loop iteration. */
export interface PooledBuffer {
  readonly bytes: Buffer;
  /** Where it begins in the memory. */
  readonly base: number;
}

/** An object that keeps a pooled buffer between event-loop iterations and can give it up. */
export interface BufferOwner {
  /** Releases the pooled buffer and keeps its contents elsewhere. */
  settle(): void;
}

type Unmask = (from: number, to: number, length: number, key: number) => void;

/** The members used here; Node's types do not declare them. */
declare const WebAssembly:
  | {
      readonly Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
      readonly Module: new (bytes: Uint8Array) => object;
      readonly Instance: new (module: object, imports: object) => { readonly exports: { readonly unmask: Unmask } };
    }
  | undefined;

/**
 * One WebAssembly memory for reading and writing, so that a WebAssembly function can move payload from the read buffer to a pooled buffer and
 * unmask it on the way. It never grows: growing would invalidate the buffers that sockets hold.
 */
export class BufferPool {
  /** The read buffer shared by all connections, at offset 0: valid until the next read of any connection. */
  readonly input: Buffer;
  /** Moves bytes within the memory and unmasks them: see `unmaskModule`. */
  readonly unmask: Unmask;

  readonly #buffer: ArrayBuffer;
  readonly #free: PooledBuffer[] = [];
  /** Owners of pooled buffers, the one that has held its pooled buffer longest first. */
  readonly #holders = new Set<BufferOwner>();
  #made = 0;

  private constructor(wasm: NonNullable<typeof WebAssembly>) {
    const pages = INPUT_PAGES + MAX_BUFFERS * BUFFER_PAGES;
    const memory = new wasm.Memory({ initial: pages, maximum: pages });
    const instance = new wasm.Instance(new wasm.Module(unmaskModule(pages)), { environment: { memory } });
    this.unmask = instance.exports.unmask;
    this.#buffer = memory.buffer;
    this.input = Buffer.from(this.#buffer, 0, INPUT_PAGES * PAGE_BYTES);
  }

  static #ofThread: BufferPool | string | undefined;

  /**
   * The memory of this thread; undefined where it cannot be had, for the reason in {@link problem}. Made when it is first asked for: as the file
   * is loaded Node 22 is about to make a WebAssembly memory of its own (for the parser of `fetch`), and crashes where this memory has left no room.
   */
  static get ofThread(): BufferPool | undefined {
    BufferPool.#ofThread ??= BufferPool.#make();
    return typeof BufferPool.#ofThread === 'string' ? undefined : BufferPool.#ofThread;
  }

  /** Why this thread has none; undefined when it has one. */
  static get problem(): string | undefined {
    BufferPool.#ofThread ??= BufferPool.#make();
    return typeof BufferPool.#ofThread === 'string' ? BufferPool.#ofThread : undefined;
  }

  /** A memory, or why there is none. */
  static #make(): BufferPool | string {
    if (typeof WebAssembly === 'undefined') return 'this Node has no WebAssembly (--jitless)';
    try {
      return new BufferPool(WebAssembly);
    } catch (error) {
      // A RangeError where address space is limited (`ulimit -v`): Node 22 reserves 10 GiB for each memory, however small it is.
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Pooled buffers in use. */
  get taken(): number {
    return this.#made - this.#free.length;
  }

  /**
   * Takes the most recently used pooled buffer, which is most likely in the processor's cache. When all are in use, the owner that has held one longest
   * must release it; undefined when all are being written.
   */
  take(holder: BufferOwner): PooledBuffer | undefined {
    let pooled = this.#free.pop() ?? this.#cut();
    if (pooled === undefined) {
      const [oldest] = this.#holders;
      oldest?.settle();
      pooled = this.#free.pop();
    }
    if (pooled !== undefined) this.#holders.add(holder);
    return pooled;
  }

  /** The owner passes its pooled buffer on, to be released by the new user. */
  handOver(holder: BufferOwner): void {
    this.#holders.delete(holder);
  }

  /** Releases a pooled buffer: its bytes must not be used any more. */
  give(pooled: PooledBuffer): void {
    this.#free.push(pooled);
  }

  #cut(): PooledBuffer | undefined {
    if (this.#made === MAX_BUFFERS) return undefined;
    const base = (INPUT_PAGES + BUFFER_PAGES * this.#made++) * PAGE_BYTES;
    return { base, bytes: Buffer.from(this.#buffer, base, BUFFER_PAGES * PAGE_BYTES) };
  }
}
