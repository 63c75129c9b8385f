/** A timer that was set with {@link Clock.setTimer}. */
export interface Timer {
  /** Stops the timer. No effect if it has already fired or been cancelled. */
  cancel(): void;
}

/** The time of day and timers: the system clock in production, a fake clock in tests. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Calls `callback` once, `ms` milliseconds from now. Unlike in `setTimeout`, `ms` may exceed 2^31-1. */
  setTimer(ms: number, callback: () => void): Timer;
}

/** The longest delay in milliseconds that `setTimeout` supports; with a longer one it fires after 1 ms. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** The clock of the machine. Each timer keeps the process alive until it has fired or been cancelled. */
export const systemClock: Clock = {
  now: () => Date.now(),
  setTimer: (ms, callback) => setSystemTimer(ms, callback, true),
};

/** As {@link systemClock}, but its timers do not keep the process alive. */
const backgroundClock: Clock = {
  now: () => Date.now(),
  setTimer: (ms, callback) => setSystemTimer(ms, callback, false),
};

/** The same clock with timers that do not keep the process alive. A clock other than {@link systemClock} is returned as it is. */
export function inBackground(clock: Clock): Clock {
  return clock === systemClock ? backgroundClock : clock;
}

function setSystemTimer(ms: number, callback: () => void, keepsAlive: boolean): Timer {
  let handle: NodeJS.Timeout;
  const arm = (left: number): void => {
    if (left <= MAX_TIMEOUT_MS) handle = setTimeout(callback, left);
    else handle = setTimeout(() => arm(left - MAX_TIMEOUT_MS), MAX_TIMEOUT_MS);
    if (!keepsAlive) handle.unref();
  };
  arm(Math.max(0, ms));
  return { cancel: () => clearTimeout(handle) };
}
