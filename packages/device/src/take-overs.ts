/** Milliseconds, at most, that a client stays away after another with its identity took over for the first time: a person who moves a device waits no longer. */
const FIRST_MS = 30_000;

/** Milliseconds of the longest stay away: two agents with one identity then change places fewer than twelve times an hour each. */
const LONGEST_MS = 300_000;

/** Milliseconds after which an earlier take-over no longer counts. In a lasting dispute they come at most 2 × {@link LONGEST_MS} apart. */
const FORGET_MS = 900_000;

/**
 * How long to stay away after a newer connection of the same identity took over. Two programs with one identity would otherwise
 * evict each other forever, each coming back at once; so each take-over soon after another doubles the wait.
 */
export class TakeOvers {
  readonly #random: () => number;
  #ceilingMs = FIRST_MS;
  #lastAt = Number.NEGATIVE_INFINITY;

  /** @param random numbers of [0, 1) */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** A take-over happened at `now` (milliseconds since the epoch). @returns milliseconds to wait, half of it random */
  next(now: number): number {
    const ceiling = Math.abs(now - this.#lastAt) > FORGET_MS ? FIRST_MS : this.#ceilingMs;
    this.#lastAt = now;
    this.#ceilingMs = Math.min(ceiling * 2, LONGEST_MS);
    return halfRandom(ceiling, this.#random);
  }
}

/** From half of `ms` to all of it: slow on purpose, and spread, so that a fleet refused at once does not come back at once. */
export function halfRandom(ms: number, random: () => number): number {
  return Math.round((ms * (1 + random())) / 2);
}
