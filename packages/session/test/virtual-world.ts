import { createHmac } from 'node:crypto';
import type { SessionEnvironment } from '../src/core/environment.ts';
import { joinPieces } from '../src/core/frame-reader.ts';
import type { Link, LinkTransport } from '../src/core/link.ts';

/** A seeded generator of random numbers (mulberry32): the same seed gives the same run. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 0x100000000;
  }

  /** An integer from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }
}

interface Event {
  readonly at: number;
  readonly order: number;
  callback: (() => void) | undefined;
}

/** Virtual time: events in order of their time. A turn of the event loop is all that is due at one time, then what was deferred. */
export class World {
  readonly random: Random;
  now = 0;
  /** What the wall clock is ahead of `now`, since machines are suspended and clocks are set. */
  wallAhead = 1_000_000;
  #events: Event[] = [];
  #order = 0;
  #deferred: (() => void)[] = [];
  steps = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  setTimer(ms: number, callback: () => void): () => void {
    const event: Event = { at: this.now + Math.max(0, ms), order: this.#order++, callback };
    this.#insert(event);
    return () => {
      event.callback = undefined;
    };
  }

  #insert(event: Event): void {
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#events[middle] as Event;
      // Latest first, so that the next event is popped from the end.
      if (other.at > event.at || (other.at === event.at && other.order > event.order)) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, event);
  }

  defer(callback: () => void): void {
    this.#deferred.push(callback);
  }

  /** Timers that will still fire. */
  get timers(): number {
    return this.#events.reduce((sum, { callback }) => sum + (callback === undefined ? 0 : 1), 0);
  }

  /** An end's environment. @param hmacMs milliseconds that an HMAC takes; undefined: it is there at once */
  environment(hmacMs?: number): SessionEnvironment {
    return {
      now: () => this.now,
      wallNow: () => this.now + this.wallAhead,
      setTimer: (ms, callback) => this.setTimer(ms, callback),
      defer: (callback) => this.defer(callback),
      random: (bytes) => Uint8Array.from({ length: bytes }, () => this.random.between(0, 255)),
      jitter: () => this.random.next(),
      hmac: (key, data, done) => {
        const mac = createHmac('sha256', key).update(data).digest();
        if (hmacMs === undefined) done(mac);
        else this.setTimer(hmacMs, () => done(mac));
      },
    };
  }

  /** Runs until nothing is left, `until` holds, or the virtual time is over. Returns whether `until` held. */
  run(untilMs: number, until: () => boolean = () => false, maxSteps = 2_000_000): boolean {
    while (this.steps++ < maxSteps) {
      const deferred = this.#deferred.splice(0);
      for (const callback of deferred) callback();
      if (until()) return true;
      if (deferred.length > 0) continue;
      const event = this.#events.at(-1);
      if (event === undefined || event.at > untilMs) {
        this.now = Math.max(this.now, Math.min(untilMs, event?.at ?? untilMs));
        return until();
      }
      this.#events.pop();
      this.now = Math.max(this.now, event.at);
      event.callback?.();
    }
    throw new Error('The run makes no end: more events than allowed.');
  }
}

/** How a wire behaves. */
export interface WireOptions {
  /** Milliseconds for one way. */
  readonly delayMs: number;
  /** What arrives within one of these periods arrives in one chunk at its end, as a busy process reads it; undefined: each part for itself. */
  readonly joinMs?: number | undefined;
  /** Bytes per millisecond of each direction; undefined: no limit. */
  readonly rate?: number | undefined;
  /** Chunks are split at random places. */
  readonly splits?: boolean | undefined;
}

/** One direction's end of a {@link Wire}. */
class WireEnd implements LinkTransport {
  readonly binding: Uint8Array;
  link: Pick<Link, 'receive' | 'lost'> | undefined;
  readonly #wire: Wire;
  readonly #index: 0 | 1;
  isOpen = true;

  constructor(wire: Wire, index: 0 | 1, binding: Uint8Array) {
    this.#wire = wire;
    this.#index = index;
    this.binding = binding;
  }

  write(parts: readonly Uint8Array[], flushed: () => void): void {
    if (this.isOpen) this.#wire.transfer(this.#index, parts, flushed);
  }

  end(): void {
    if (this.isOpen) this.#wire.finish(this.#index);
    this.isOpen = false;
  }

  destroy(): void {
    if (this.isOpen) this.#wire.finish(this.#index);
    this.isOpen = false;
  }

  lost(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.link?.lost();
  }
}

/** A device stream in the virtual world: two ends, with delays, that can be cut in every way a network does. */
export class Wire {
  readonly #world: World;
  readonly #options: WireOptions;
  readonly ends: readonly [WireEnd, WireEnd];
  /** Milliseconds that bytes take from now on. */
  delayMs: number;
  /** Whether bytes of this direction arrive. */
  readonly #carries = [true, true];
  readonly #free = [0, 0];
  /** Times are rising in each direction, so that bytes stay in order. */
  readonly #lastArrival = [0, 0];
  /** With `joinMs`: the parts that arrive at `#lastArrival`. */
  readonly #joining: (Uint8Array[] | undefined)[] = [undefined, undefined];

  constructor(world: World, options: WireOptions, binding: Uint8Array = new Uint8Array(0)) {
    this.#world = world;
    this.#options = options;
    this.delayMs = options.delayMs;
    this.ends = [new WireEnd(this, 0, binding), new WireEnd(this, 1, binding)];
  }

  transfer(from: 0 | 1, parts: readonly Uint8Array[], flushed: () => void): void {
    const { rate, splits } = this.#options;
    // What leaves within a millisecond arrives together.
    const segment = rate === undefined ? Number.POSITIVE_INFINITY : Math.min(65_536, Math.max(1_460, Math.floor(rate)));
    const segments = parts.flatMap((part) => cut(part, segment));
    let index = 0;
    for (const part of segments) {
      // Read when they leave, not when they were written, to find memory that is reused too early.
      const start = Math.max(this.#world.now, this.#free[from] as number);
      const leaves = start + (rate === undefined ? 0 : part.length / rate);
      this.#free[from] = leaves;
      const isLast = ++index === segments.length;
      this.#world.setTimer(leaves - this.#world.now, () => {
        const bytes = part.slice();
        if (isLast) flushed();
        let at = 0;
        while (at < bytes.length) {
          const length = splits === true ? this.#world.random.between(1, bytes.length - at) : bytes.length - at;
          this.#deliver(from, bytes.subarray(at, at + length));
          at += length;
        }
      });
    }
  }

  finish(from: 0 | 1): void {
    const start = Math.max(this.#world.now, this.#free[from] as number);
    this.#world.setTimer(start - this.#world.now, () => {
      this.#deliver(from, undefined);
    });
  }

  #deliver(from: 0 | 1, bytes: Uint8Array | undefined): void {
    const { joinMs } = this.#options;
    let at = Math.max(this.#world.now + this.delayMs, this.#lastArrival[from] as number);
    if (joinMs !== undefined) at = Math.ceil(at / joinMs) * joinMs;
    const joining = at === this.#lastArrival[from] ? this.#joining[from] : undefined;
    if (joining !== undefined && bytes !== undefined) {
      joining.push(bytes);
      return;
    }
    this.#lastArrival[from] = at;
    const parts = bytes === undefined ? undefined : [bytes];
    if (joinMs !== undefined) this.#joining[from] = parts;
    this.#world.setTimer(at - this.#world.now, () => {
      if (parts === this.#joining[from]) this.#joining[from] = undefined;
      if (this.#carries[from] !== true) return;
      const end = this.ends[from === 0 ? 1 : 0];
      if (!end.isOpen) return;
      if (parts === undefined) end.lost();
      else
        end.link?.receive(
          joinPieces(
            parts.reduce((sum, { length }) => sum + length, 0),
            parts,
          ),
        );
    });
  }

  /** Nothing arrives any more, and nobody is told. */
  blackhole(direction?: 0 | 1): void {
    for (const index of [0, 1] as const)
      if (direction === undefined || direction === index) this.#carries[index] = false;
  }

  /** Each end notices the loss after its own time; what is under way is lost. */
  cut(afterMs: readonly [number, number]): void {
    this.blackhole();
    for (const index of [0, 1] as const) this.#world.setTimer(afterMs[index], () => this.ends[index].lost());
  }

  /** One end notices the loss, and the other goes on hearing what was under way. */
  halfOpen(index: 0 | 1, otherAfterMs: number): void {
    this.ends[index].lost();
    this.blackhole(index);
    this.#world.setTimer(otherAfterMs, () => this.ends[index === 0 ? 1 : 0].lost());
  }
}

/** Views of the bytes, each of at most `length`. */
function cut(bytes: Uint8Array, length: number): Uint8Array[] {
  if (bytes.length <= length) return [bytes];
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += length) pieces.push(bytes.subarray(at, at + length));
  return pieces;
}
