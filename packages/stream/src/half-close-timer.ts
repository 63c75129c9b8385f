import { LIMITS } from '@culvert/protocol';
import type { Clock, Timer } from './clock.ts';

export interface HalfCloseTimerOptions {
  readonly clock: Clock;
  /** Milliseconds without a byte after which {@link HalfCloseTimerOptions.expired} is called. */
  readonly ms: number;
  /**
   * Whether bytes of the direction wait for a receiver that does not take them. Its silence is then not the sender's: it gets
   * `LIMITS.stallMs`, as everywhere.
   */
  readonly isBlocked: () => boolean;
  /** Called once. */
  readonly expired: () => void;
}

/** Bounds the silence of the one direction of a stream that goes on after the other has ended; while bytes flow there is no bound. */
export class HalfCloseTimer {
  readonly #options: HalfCloseTimerOptions;
  #timer: Timer | undefined;
  #movedAt: number;

  /** Starts it. */
  constructor(options: HalfCloseTimerOptions) {
    this.#options = options;
    this.#movedAt = options.clock.now();
    this.#timer = options.clock.setTimer(options.ms, this.#check);
  }

  /** Bytes moved. */
  moved(): void {
    this.#movedAt = this.#options.clock.now();
  }

  /** Frees the timer. Idempotent. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  readonly #check = (): void => {
    const { clock, ms, isBlocked, expired } = this.#options;
    const limit = isBlocked() ? Math.max(ms, LIMITS.stallMs) : ms;
    const left = this.#movedAt + limit - clock.now();
    this.#timer = undefined;
    if (left <= 0) expired();
    // Looked at again after `ms` at most: it may be blocked no longer by then.
    else this.#timer = clock.setTimer(Math.min(left, ms), this.#check);
  };
}
