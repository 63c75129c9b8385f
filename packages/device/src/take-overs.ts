/** Maximum milliseconds that a client waits after the first take-over by another client with its identity: short, because a device may have been moved. */
const FIRST_MS = 30_000;

/** Maximum milliseconds that a client waits after any take-over. With it, two agents with one identity each take over fewer than twelve times an hour. */
const LONGEST_MS = 300_000;

/** Milliseconds after which an earlier take-over no longer counts. While two clients compete, take-overs are at most 2 × {@link LONGEST_MS} apart. */
const FORGET_MS = 900_000;

/**
 * Computes how long a client waits before it reconnects after another client with the same identity has taken over. Without a wait, two programs with
 * one identity would replace each other endlessly. Each take-over soon after another doubles the wait.
 */
export class TakeOvers {
  readonly #random: () => number;
  #ceilingMs = FIRST_MS;
  #lastAt = Number.NEGATIVE_INFINITY;

  /** @param random returns a random number in [0, 1) */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** Records a take-over at `now` (milliseconds since the epoch). @returns milliseconds to wait, half of it random */
  next(now: number): number {
    const ceiling = Math.abs(now - this.#lastAt) > FORGET_MS ? FIRST_MS : this.#ceilingMs;
    this.#lastAt = now;
    this.#ceilingMs = Math.min(ceiling * 2, LONGEST_MS);
    return halfRandom(ceiling, this.#random);
  }
}

/** Returns a random time between half of `ms` and `ms`, so that devices that were refused at the same moment do not reconnect at the same moment. */
export function halfRandom(ms: number, random: () => number): number {
  return Math.round((ms * (1 + random())) / 2);
}
