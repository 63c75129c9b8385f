import { CulvertError } from '@culvert/protocol';
import { abortReason, Backoff, type Clock, delay } from '@culvert/stream';
import type { EventSink } from '../events.ts';
import type { LogRecord } from './log-entry.ts';

/** Milliseconds a target may take to close. */
const CLOSE_MS = 1_000;

/** A destination that takes records in batches: the store, a file, an endpoint. */
export interface LogTarget {
  /**
   * Takes a complete batch, or throws; then the same batch is delivered again later.
   * @returns how many records the target permanently refused: they are not sent again
   */
  deliver(batch: readonly LogRecord[], signal: AbortSignal): Promise<number>;
  close(): Promise<void>;
}

/** Thrown by a target that asks for a pause: no attempt before `afterMs` milliseconds, five minutes at most. */
export class RetryLater extends Error {
  readonly afterMs: number;

  constructor(message: string, afterMs: number) {
    super(message);
    this.afterMs = Math.min(afterMs, 300_000);
  }
}

export interface LogDeliveryOptions {
  /** Named in events. */
  readonly name: string;
  readonly target: LogTarget;
  readonly clock: Clock;
  readonly onEvent: EventSink;
  /** Maximum queued records; each is about a kilobyte, four at most. Default 10,000. */
  readonly maxQueued?: number;
  /** Records of one batch. Default 500. */
  readonly maxBatch?: number;
  /** Milliseconds an incomplete batch waits for more records, unless a caller waits for it. Default 0: the records of one event-loop iteration. */
  readonly gatherMs?: number;
  /** Between two attempts. Default: from one second to a minute. */
  readonly backoff?: Backoff;
}

/**
 * Delivers records to one target without ever blocking: records wait in a bounded queue, one batch is under way at a time, a failed one
 * is retried for as long as the outage lasts, and records that find the queue full are counted as lost. An outage is reported when it begins and when it ends.
 */
export class LogDelivery {
  readonly name: string;
  readonly #target: LogTarget;
  readonly #clock: Clock;
  readonly #onEvent: EventSink;
  readonly #maxQueued: number;
  readonly #maxBatch: number;
  readonly #gatherMs: number;
  readonly #backoff: Backoff;
  readonly #abort = new AbortController();
  readonly #queue: LogRecord[] = [];
  #running: Promise<void> | undefined;
  /** Ends the current wait for more records. */
  #hurry: (() => void) | undefined;
  #closed: Promise<void> | undefined;
  /** Set during an outage; undefined otherwise. */
  #lostInOutage: number | undefined;
  #lost = 0;
  /** Records taken into the queue, and those that have left it, since the start. */
  #taken = 0;
  #left = 0;
  #waiting: { readonly until: number; readonly resolve: () => void }[] = [];

  constructor(options: LogDeliveryOptions) {
    this.name = options.name;
    this.#target = options.target;
    this.#clock = options.clock;
    this.#onEvent = options.onEvent;
    this.#maxQueued = options.maxQueued ?? 10_000;
    this.#maxBatch = options.maxBatch ?? 500;
    this.#gatherMs = options.gatherMs ?? 0;
    this.#backoff = options.backoff ?? new Backoff({ minMs: 1_000, maxMs: 60_000 });
  }

  /** Records the target never got, since the start. */
  get lost(): number {
    return this.#lost;
  }

  /** Queued records. */
  get queued(): number {
    return this.#queue.length;
  }

  /** Takes a record, or counts it as lost. Never throws, never waits. */
  push(record: LogRecord): void {
    if (this.#closed !== undefined || this.#queue.length >= this.#maxQueued) {
      this.#lose(1, 'it does not take records as fast as they come');
      return;
    }
    this.#queue.push(record);
    this.#taken++;
    this.#running ??= this.#run();
    if (this.#queue.length >= this.#maxBatch) this.#hurry?.();
  }

  /** Resolves when every record pushed so far is delivered or lost; at once during an outage. */
  settled(): Promise<void> {
    const until = this.#taken;
    if (this.#left >= until || this.#lostInOutage !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push({ until, resolve });
      this.#hurry?.();
    });
  }

  /** Stops taking records and gives the target `graceMs` for the queued ones. Idempotent. */
  close(graceMs: number): Promise<void> {
    this.#closed ??= this.#end(graceMs);
    return this.#closed;
  }

  async #end(graceMs: number): Promise<void> {
    const timer = this.#clock.setTimer(graceMs, () => this.#abort.abort(new CulvertError('draining')));
    this.#hurry?.();
    await this.#running;
    timer.cancel();
    const left = this.#queue.length;
    if (left > 0) {
      this.#queue.length = 0;
      this.#lost += left;
      const problem = `The hub stopped before it took ${left} records.`;
      this.#onEvent({ type: 'log-failed', sink: this.name, problem });
    }
    this.#release(this.#taken);
    await this.#closeTarget();
  }

  /** Not longer than a second: a disk or a server that hangs is not to keep the hub. */
  #closeTarget(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#clock.setTimer(CLOSE_MS, resolve);
      const closed = (): void => {
        timer.cancel();
        resolve();
      };
      this.#target.close().then(closed, closed);
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    while (this.#queue.length > 0 && !signal.aborted) {
      await this.#gather();
      if (signal.aborted) break;
      const batch = this.#queue.slice(0, this.#maxBatch);
      try {
        const refused = await this.#attempt(batch, signal);
        this.#queue.splice(0, batch.length);
        this.#left += batch.length;
        this.#release(this.#left);
        this.#backoff.reset();
        if (refused > 0) this.#lose(refused, 'it refused records for good');
        else this.#resumed();
      } catch (error) {
        if (signal.aborted) break;
        this.#failed(sentence(error));
        const least = error instanceof RetryLater ? error.afterMs : 0;
        // Ends early when the hub stops.
        await delay(this.#clock, Math.max(least, this.#backoff.next()), signal).catch(() => undefined);
      }
    }
    this.#running = undefined;
  }

  /** Each batch costs a message to a thread and a commit, so many records share one. */
  #gather(): Promise<void> {
    const isUrgent = this.#waiting.length > 0 || this.#closed !== undefined;
    if (this.#gatherMs === 0 || isUrgent || this.#queue.length >= this.#maxBatch) {
      return new Promise((resolve) => setImmediate(resolve));
    }
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel();
        this.#hurry = undefined;
        resolve();
      };
      const timer = this.#clock.setTimer(this.#gatherMs, done);
      this.#hurry = done;
    });
  }

  /** The target's result, or the signal's reason as soon as it aborts, even if the target never answers. */
  #attempt(batch: readonly LogRecord[], signal: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(abortReason(signal));
      signal.addEventListener('abort', onAbort);
      this.#target
        .deliver(batch, signal)
        .then(resolve, reject)
        .finally(() => signal.removeEventListener('abort', onAbort));
    });
  }

  #lose(count: number, problem: string): void {
    this.#lost += count;
    this.#failed(problem);
    this.#lostInOutage = (this.#lostInOutage ?? 0) + count;
  }

  #failed(problem: string): void {
    this.#release(this.#taken);
    if (this.#lostInOutage !== undefined) return;
    this.#lostInOutage = 0;
    this.#onEvent({ type: 'log-failed', sink: this.name, problem });
  }

  /** An outage counts as over when half the queue is free; otherwise a target at the limit would be reported again and again. */
  #resumed(): void {
    const lost = this.#lostInOutage;
    if (lost === undefined || this.#queue.length > this.#maxQueued / 2) return;
    this.#lostInOutage = undefined;
    this.#onEvent({ type: 'log-resumed', sink: this.name, lost });
  }

  /** Resolves the callers that wait for the first `left` records. */
  #release(left: number): void {
    const ready = this.#waiting.filter(({ until }) => until <= left);
    this.#waiting = this.#waiting.filter(({ until }) => until > left);
    for (const { resolve } of ready) resolve();
  }
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
