import type { SessionEnvironment } from './environment.ts';

/** Seconds for which a session is kept without a link: about as long as TCP itself keeps trying. */
export const DEFAULT_RETENTION_SECONDS = 900;
/** The longest retention: a week. */
export const MAX_RETENTION_SECONDS = 604_800;

const UNITS = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
] as const;

/** A time in words, in the largest unit of which there are at least two: "15 minutes", "90 seconds". */
export function inWords(seconds: number): string {
  const [unit, size] = UNITS.find(([, of]) => seconds >= 2 * of) ?? ['second', 1];
  const count = Math.round(seconds / size);
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}

/** A wall clock that jumps by more than this was set, for example on a board without a clock of its own; it did not advance. */
const MAX_SUSPEND_MS = 2_592_000_000;

/**
 * Measures for how long nothing was received. It uses two clocks: the monotonic one stands still while Linux is suspended, and the wall clock
 * can be set.
 */
export class Silence {
  readonly #environment: SessionEnvironment;
  #heardAt: number;
  #heardAtWall: number;

  constructor(environment: SessionEnvironment) {
    this.#environment = environment;
    this.#heardAt = environment.now();
    this.#heardAtWall = environment.wallNow();
  }

  heard(): void {
    this.#heardAt = this.#environment.now();
    this.#heardAtWall = this.#environment.wallNow();
  }

  /** Milliseconds of silence by the monotonic clock. */
  get ms(): number {
    return this.#environment.now() - this.#heardAt;
  }

  /** Milliseconds until the silence has lasted for `limitMs`; 0 or less if it has. */
  left(limitMs: number): number {
    const wall = this.#environment.wallNow() - this.#heardAtWall;
    return limitMs - Math.max(this.ms, wall > MAX_SUSPEND_MS ? 0 : wall);
  }
}
