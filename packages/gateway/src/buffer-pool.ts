import { unmaskModule } from './unmask-module.ts';

/** Bytes of a WebAssembly memory page. */
const PAGE_BYTES = 65_536;

/** Pages of the shared read buffer: 64 KiB, which libuv reads at once from a connection without TLS. A TLS record is a quarter of that. */
const INPUT_PAGES = 1;

/** Pages of a pooled buffer: room for two of the longest units and part of a third, so that the bytes of one event-loop iteration are sent in one write. */
const BUFFER_PAGES = 3;

/**
 * Maximum pooled buffers: 24 MiB of address space, of which only the buffers used at the same time become resident memory. They are used by streams
 * that are busy in the same event-loop iteration, and by streams that wait for a slow client. Further streams use ordinary buffers, which cost more.
 */
const MAX_BUFFERS = 128;

/** A part of the pool's memory, in which the frames of one event-loop iteration are collected. */
export interface PooledBuffer {
  readonly bytes: Buffer;
  /** Offset of the buffer in the pool's memory. */
  readonly base: number;
}

/** An object that keeps a pooled buffer between event-loop iterations and can release it on request. */
export interface BufferOwner {
  /** Copies the contents of the pooled buffer to an ordinary buffer and releases the pooled one. */
  settle(): void;
}

type Unmask = (from: number, to: number, length: number, key: number) => void;

/** The members of `WebAssembly` that this file uses; Node's types do not declare them. */
declare const WebAssembly:
  | {
      readonly Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
      readonly Module: new (bytes: Uint8Array) => object;
      readonly Instance: new (module: object, imports: object) => { readonly exports: { readonly unmask: Unmask } };
    }
  | undefined;

/**
 * One WebAssembly memory for reading and writing, so that one WebAssembly function can copy payload from the read buffer to a pooled buffer and
 * unmask it in the same step. The memory never grows, because growth would invalidate the buffers that sockets use.
 */
export class BufferPool {
  /** The read buffer at offset 0, shared by all connections. Its contents are valid until the next read from any connection. */
  readonly input: Buffer;
  /** Copies bytes within the memory and unmasks them: see `unmaskModule`. */
  readonly unmask: Unmask;

  readonly #buffer: ArrayBuffer;
  readonly #free: PooledBuffer[] = [];
  /** Owners of pooled buffers, in the order in which they took their buffers. */
  readonly #owners = new Set<BufferOwner>();
  #allocated = 0;

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
   * The pool of this thread; undefined if it cannot be created, for the reason in {@link problem}. It is created on first use and not when this file
   * is loaded: at that time Node 22 has not yet created its own WebAssembly memory (for the parser of `fetch`), and would crash for lack of address space.
   */
  static get ofThread(): BufferPool | undefined {
    BufferPool.#ofThread ??= BufferPool.#create();
    return typeof BufferPool.#ofThread === 'string' ? undefined : BufferPool.#ofThread;
  }

  /** The reason why this thread has no pool; undefined when it has one. */
  static get problem(): string | undefined {
    BufferPool.#ofThread ??= BufferPool.#create();
    return typeof BufferPool.#ofThread === 'string' ? BufferPool.#ofThread : undefined;
  }

  /** Creates a pool; returns the reason as text if that is impossible. */
  static #create(): BufferPool | string {
    if (typeof WebAssembly === 'undefined') return 'this Node has no WebAssembly (--jitless)';
    try {
      return new BufferPool(WebAssembly);
    } catch (error) {
      // A RangeError when address space is limited (`ulimit -v`): Node 22 reserves 10 GiB for each WebAssembly memory, even for a small one.
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Pooled buffers in use. */
  get taken(): number {
    return this.#allocated - this.#free.length;
  }

  /**
   * Takes the most recently released buffer, which is the most likely to be in the processor's cache. When all are in use, the owner that has had its
   * buffer for the longest time must release it. Undefined when no buffer has an owner because all are being written.
   */
  take(owner: BufferOwner): PooledBuffer | undefined {
    let pooled = this.#free.pop() ?? this.#allocate();
    if (pooled === undefined) {
      const [oldest] = this.#owners;
      oldest?.settle();
      pooled = this.#free.pop();
    }
    if (pooled !== undefined) this.#owners.add(owner);
    return pooled;
  }

  /** The owner passes its pooled buffer to a writer, which must release it with {@link give}. */
  handOver(owner: BufferOwner): void {
    this.#owners.delete(owner);
  }

  /** Releases a pooled buffer. Its bytes must not be used afterwards. */
  give(pooled: PooledBuffer): void {
    this.#free.push(pooled);
  }

  #allocate(): PooledBuffer | undefined {
    if (this.#allocated === MAX_BUFFERS) return undefined;
    const base = (INPUT_PAGES + BUFFER_PAGES * this.#allocated++) * PAGE_BYTES;
    return { base, bytes: Buffer.from(this.#buffer, base, BUFFER_PAGES * PAGE_BYTES) };
  }
}
