/** A timer that has not necessarily fired yet. */
export interface Timer {
  /** Stops it; nothing happens when it has fired or was cancelled before. */
  cancel(): void;
}

/** The time of day and timers: the system's in production, a fake one in tests. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Calls `callback` once, `ms` milliseconds from now; any number of milliseconds works, also beyond 2^31-1. */
  setTimer(ms: number, callback: () => void): Timer;
}

/** The longest delay `setTimeout` takes; a longer one fires after 1 ms. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** The clock of the machine. A timer of it keeps the process alive until it has fired or was cancelled. */
export const systemClock: Clock = {
  now: () => Date.now(),
  setTimer(ms, callback) {
    let handle: NodeJS.Timeout;
    const arm = (left: number): void => {
      if (left <= MAX_TIMEOUT_MS) handle = setTimeout(callback, left);
      else handle = setTimeout(() => arm(left - MAX_TIMEOUT_MS), MAX_TIMEOUT_MS);
    };
    arm(Math.max(0, ms));
    return { cancel: () => clearTimeout(handle) };
  },
};
