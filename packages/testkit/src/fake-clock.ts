import type { Clock, Timer } from '@culvert/stream';

interface Pending {
  readonly at: number;
  readonly order: number;
  readonly callback: () => void;
}

/** A clock whose time changes only when the test advances it. */
export class FakeClock implements Clock {
  #now: number;
  #order = 0;
  readonly #pending = new Set<Pending>();

  /** @param now start time, in milliseconds since the epoch */
  constructor(now = Date.UTC(2026, 0, 1)) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  setTimer(ms: number, callback: () => void): Timer {
    const timer: Pending = { at: this.#now + Math.max(0, ms), order: this.#order++, callback };
    this.#pending.add(timer);
    return { cancel: () => this.#pending.delete(timer) };
  }

  /** The number of pending timers; 0 at the end of a test unless timers leak. */
  get timers(): number {
    return this.#pending.size;
  }

  /**
   * Advances the time by `ms` milliseconds and fires the timers that become due, in order, including those that callbacks set. Between two timers,
   * and at the end, pending promise callbacks run and the event loop completes one iteration.
   */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      this.#now = next.at;
      this.#pending.delete(next);
      next.callback();
      await nextIteration();
    }
    this.#now = end;
    await nextIteration();
  }

  #next(end: number): Pending | undefined {
    let first: Pending | undefined;
    for (const timer of this.#pending) {
      if (timer.at > end) continue;
      if (first === undefined || timer.at < first.at || (timer.at === first.at && timer.order < first.order))
        first = timer;
    }
    return first;
  }
}

function nextIteration(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
