import { monitorEventLoopDelay } from 'node:perf_hooks';

/** Milliseconds between two samples. Shorter delays are not detected. */
const RESOLUTION_MS = 20;

/** Minimum milliseconds of a measurement window, so that two programs that scrape alternately read the same values. */
const WINDOW_MS = 10_000;

/** Event loop delay in seconds, by quantile. */
export interface Delays {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Measures how late the event loop runs its callbacks. This delay affects all work of the hub. */
export class EventLoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  #since = performance.now();
  #last: Delays | undefined;

  constructor() {
    this.#histogram.enable();
  }

  /**
   * The quantiles since the previous measurement. Calls within ten seconds of that measurement return its values again; the first call
   * returns the quantiles since the start.
   */
  read(): Delays {
    const now = performance.now();
    if (this.#last !== undefined && now - this.#since < WINDOW_MS) return this.#last;
    const seconds = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - RESOLUTION_MS / 1e3);
    const { max } = this.#histogram;
    const delays = {
      p50: seconds(this.#histogram.percentile(50)),
      p99: seconds(this.#histogram.percentile(99)),
      max: seconds(max),
    };
    this.#histogram.reset();
    this.#since = now;
    this.#last = delays;
    return delays;
  }

  stop(): void {
    this.#histogram.disable();
  }
}
