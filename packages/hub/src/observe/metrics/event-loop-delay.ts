import { monitorEventLoopDelay } from 'node:perf_hooks';

/** Milliseconds between two samples: what is shorter is not seen. */
const RESOLUTION_MS = 20;

/** Milliseconds a window lasts at least, so that two who ask by turns see the same and not each other's rest. */
const WINDOW_MS = 10_000;

/** How late the event loop was, in seconds, by share of the samples. */
export interface Delays {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Watches how late the event loop runs what is due: everything the hub does waits that long. */
export class EventLoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  #since = performance.now();
  #last: Delays | undefined;

  constructor() {
    this.#histogram.enable();
  }

  /** Of the window since it was last asked, ten seconds at least; of the time since the start until one is over. */
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
