/** What a session needs from outside, so that it runs on Node, in a browser and in a simulation alike. */
export interface SessionEnvironment {
  /** Milliseconds of a monotonic clock; fractions are welcome. */
  readonly now: () => number;
  /** Milliseconds since the epoch. Unlike `now`, it advances while the machine is suspended. */
  readonly wallNow: () => number;
  /** Calls back once after `ms` milliseconds; the function that is returned cancels it. */
  readonly setTimer: (ms: number, callback: () => void) => () => void;
  /** Calls back at the end of the current turn of the event loop. */
  readonly defer: (callback: () => void) => void;
  /** That many random bytes, fit for keys. */
  readonly random: (bytes: number) => Uint8Array;
  /** A random number in [0, 1), for the jitter of waits. */
  readonly jitter: () => number;
  /** HMAC-SHA-256 (RFC 2104). May call back at once or later. */
  readonly hmac: (key: Uint8Array, data: Uint8Array, done: (mac: Uint8Array) => void) => void;
}
