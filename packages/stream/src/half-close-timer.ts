import { LIMITS } from '@culvert/protocol';
import type { Clock, Timer } from './clock.ts';

export interface HalfCloseTimerOptions {
  readonly clock: Clock;
  /** Milliseconds without a byte after which {@link HalfCloseTimerOptions.expired} is called. */
  readonly ms: number;
  /**
   * Whether bytes of the open direction wait for a receiver that does not read them. In that case the sender is not silent, and the limit is
   * at least `LIMITS.stallMs`, the general limit for a receiver that does not read.
   */
  readonly isBlocked: () => boolean;
  /** Called once. */
  readonly expired: () => void;
}

/** Limits the silence of a stream's open direction after the other direction has ended. While bytes flow, there is no time limit. */
export class HalfCloseTimer {
  readonly #options: HalfCloseTimerOptions;
  #timer: Timer | undefined;
  #movedAt: number;

  /** Starts the timer. */
  constructor(options: HalfCloseTimerOptions) {
    this.#options = options;
    this.#movedAt = options.clock.now();
    this.#timer = options.clock.setTimer(options.ms, this.#check);
  }

  /** Must be called when bytes flow in the open direction. */
  moved(): void {
    this.#movedAt = this.#options.clock.now();
  }

  /** Stops the timer. Idempotent. */
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
    // Check again after `ms` at most, because the direction may no longer be blocked by then.
    else this.#timer = clock.setTimer(Math.min(left, ms), this.#check);
  };
}
