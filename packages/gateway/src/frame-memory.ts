import { unmaskModule } from './unmask-module.ts';

/** Bytes of a page of WebAssembly's memory. */
const PAGE_BYTES = 65_536;

/** Pages that connections are read into: as much as libuv reads at once from a connection without TLS; a TLS record is a quarter. */
const INPUT_PAGES = 1;

/** Pages of a slab: two of the longest units and what is left of a third, so that a turn's bytes leave in one write. */
const SLAB_PAGES = 3;

/**
 * Slabs at most, 24 MiB of address space, of which only what is in use together becomes memory. They serve streams that are busy
 * in the same turn and those that wait for a slow client; beyond, streams are carried in ordinary buffers, at more cost.
 */
const MAX_SLABS = 128;

/** A piece of the memory to gather a turn's frames in. */
export interface Slab {
  readonly bytes: Buffer;
  /** Where it begins in the memory. */
  readonly base: number;
}

/** What holds a slab between turns, and can do without. */
export interface SlabHolder {
  /** Gives the slab back, and keeps what is in it elsewhere. */
  settle(): void;
}

type Unmask = (from: number, to: number, length: number, key: number) => void;

/** What is used of it here; Node's types do not know it. */
declare const WebAssembly:
  | {
      readonly Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
      readonly Module: new (bytes: Uint8Array) => object;
      readonly Instance: new (module: object, imports: object) => { readonly exports: { readonly unmask: Unmask } };
    }
  | undefined;

/**
 * One memory for what is read and what is written, so that a WebAssembly function can move payload from the one to the other and
 * unmask it on the way. It never grows: growing would invalidate the buffers that sockets hold.
 */
export class FrameMemory {
  /** What connections are read into, one after the other: valid until the next read of any. It begins at 0. */
  readonly input: Buffer;
  /** Moves bytes within the memory and takes the mask off: see `unmaskModule`. */
  readonly unmask: Unmask;

  readonly #buffer: ArrayBuffer;
  readonly #free: Slab[] = [];
  /** The one that has held its slab for longest first. */
  readonly #holders = new Set<SlabHolder>();
  #made = 0;

  private constructor(wasm: NonNullable<typeof WebAssembly>) {
    const pages = INPUT_PAGES + MAX_SLABS * SLAB_PAGES;
    const memory = new wasm.Memory({ initial: pages, maximum: pages });
    const instance = new wasm.Instance(new wasm.Module(unmaskModule(pages)), { environment: { memory } });
    this.unmask = instance.exports.unmask;
    this.#buffer = memory.buffer;
    this.input = Buffer.from(this.#buffer, 0, INPUT_PAGES * PAGE_BYTES);
  }

  static #ofThread: FrameMemory | string | undefined;

  /**
   * The memory of this thread; undefined where it cannot be had, for the reason in {@link problem}. Made when it is first asked for: as the file
   * is loaded Node 22 is about to make a WebAssembly memory of its own (for the parser of `fetch`), and dies where ours has left no room.
   */
  static get ofThread(): FrameMemory | undefined {
    FrameMemory.#ofThread ??= FrameMemory.#make();
    return typeof FrameMemory.#ofThread === 'string' ? undefined : FrameMemory.#ofThread;
  }

  /** Why this thread has none; undefined when it has one. */
  static get problem(): string | undefined {
    FrameMemory.#ofThread ??= FrameMemory.#make();
    return typeof FrameMemory.#ofThread === 'string' ? FrameMemory.#ofThread : undefined;
  }

  /** A memory, or why there is none. */
  static #make(): FrameMemory | string {
    if (typeof WebAssembly === 'undefined') return 'this Node has no WebAssembly (--jitless)';
    try {
      return new FrameMemory(WebAssembly);
    } catch (error) {
      // A RangeError where address space is limited (`ulimit -v`): Node 22 reserves 10 GiB for each memory, however small it is.
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Slabs in use. */
  get taken(): number {
    return this.#made - this.#free.length;
  }

  /**
   * The slab that was in use last, which is the likeliest to be in the processor's cache. When all are in use, who has held one for longest
   * must do without; undefined when all are being written.
   */
  take(holder: SlabHolder): Slab | undefined {
    let slab = this.#free.pop() ?? this.#cut();
    if (slab === undefined) {
      const [oldest] = this.#holders;
      oldest?.settle();
      slab = this.#free.pop();
    }
    if (slab !== undefined) this.#holders.add(holder);
    return slab;
  }

  /** The holder's slab goes elsewhere, to be given back from there: it holds it no more. */
  handOver(holder: SlabHolder): void {
    this.#holders.delete(holder);
  }

  /** Takes a slab back: nobody may hold its bytes any more. */
  give(slab: Slab): void {
    this.#free.push(slab);
  }

  #cut(): Slab | undefined {
    if (this.#made === MAX_SLABS) return undefined;
    const base = (INPUT_PAGES + SLAB_PAGES * this.#made++) * PAGE_BYTES;
    return { base, bytes: Buffer.from(this.#buffer, base, SLAB_PAGES * PAGE_BYTES) };
  }
}
