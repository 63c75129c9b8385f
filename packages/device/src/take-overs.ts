/** Maximum milliseconds that a client stays away after the first take-over by another client with its identity: short, for a person who moves a device. */
const FIRST_MS = 30_000;

/** Maximum milliseconds that a client stays away: two agents with one identity then replace each other fewer than twelve times an hour each. */
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

/** A random time from half of `ms` to all of it, so that a fleet that was refused together does not reconnect together. */
export function halfRandom(ms: number, random: () => number): number {
  return Math.round((ms * (1 + random())) / 2);
}
