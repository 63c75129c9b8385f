import { CulvertError } from '@culvert/protocol';
import { abortReason, Backoff, type Clock, delay } from '@culvert/stream';
import type { EventSink } from '../events.ts';
import type { LogRecord } from './log-entry.ts';

/** Milliseconds a target may take to close. */
const CLOSE_MS = 1_000;

/** A destination that takes records in batches: the store, a file, an endpoint. */
export interface LogTarget {
  /**
   * Accepts a complete batch, or throws; after an error the same batch is delivered again later.
   * @returns the number of records that the target refused permanently; they are not sent again
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
  /** The name of the target in events. */
  readonly name: string;
  readonly target: LogTarget;
  readonly clock: Clock;
  readonly onEvent: EventSink;
  /** Maximum queued records. A record has about one kilobyte, four at most. Default 10,000. */
  readonly maxQueued?: number;
  /** Maximum records in one batch. Default 500. */
  readonly maxBatch?: number;
  /** Milliseconds an incomplete batch waits for more records, unless a caller waits for it. Default 0: the records of one event-loop iteration. */
  readonly gatherMs?: number;
  /** The back-off between two attempts. Default: from one second to one minute. */
  readonly backoff?: Backoff;
}

/**
 * Delivers records to one target without blocking the caller. Records wait in a bounded queue, and one batch is sent at a time. A failed batch is
 * retried until the outage is over. A record that arrives while the queue is full is counted as lost. Events report when an outage begins and when
 * it ends.
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
  /** Ends the current wait for more records; set only while `#gather` waits. */
  #stopGathering: (() => void) | undefined;
  #closed: Promise<void> | undefined;
  /** The number of records lost in the current outage; undefined when there is no outage. */
  #lostInOutage: number | undefined;
  #lost = 0;
  /** The number of records put into the queue since the start. */
  #pushed = 0;
  /** The number of records that the target answered for since the start. */
  #finished = 0;
  /** Callers of `settled`, each waiting until `#finished` reaches `until`. */
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

  /** The number of records since the start that the target did not accept. */
  get lost(): number {
    return this.#lost;
  }

  /** The number of queued records. */
  get queued(): number {
    return this.#queue.length;
  }

  /** Queues a record, or counts it as lost. Never throws and never waits. */
  push(record: LogRecord): void {
    if (this.#closed !== undefined || this.#queue.length >= this.#maxQueued) {
      this.#lose(1, 'it does not accept records as fast as they arrive');
      return;
    }
    this.#queue.push(record);
    this.#pushed++;
    this.#running ??= this.#run();
    if (this.#queue.length >= this.#maxBatch) this.#stopGathering?.();
  }

  /** Resolves when every record pushed so far is delivered or lost. During an outage, resolves at once. */
  settled(): Promise<void> {
    const until = this.#pushed;
    if (this.#finished >= until || this.#lostInOutage !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push({ until, resolve });
      this.#stopGathering?.();
    });
  }

  /** Stops accepting records and allows `graceMs` milliseconds to deliver the queued ones. Idempotent. */
  close(graceMs: number): Promise<void> {
    this.#closed ??= this.#end(graceMs);
    return this.#closed;
  }

  async #end(graceMs: number): Promise<void> {
    const timer = this.#clock.setTimer(graceMs, () => this.#abort.abort(new CulvertError('draining')));
    this.#stopGathering?.();
    await this.#running;
    timer.cancel();
    const left = this.#queue.length;
    if (left > 0) {
      this.#queue.length = 0;
      this.#lost += left;
      const problem = `The hub stopped before it took ${left} records.`;
      this.#onEvent({ type: 'log-failed', sink: this.name, problem });
    }
    this.#release(this.#pushed);
    await this.#closeTarget();
  }

  /** Closes the target, or gives up after {@link CLOSE_MS}, so that a disk or server that hangs does not delay the hub's stop. */
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
        this.#finished += batch.length;
        this.#release(this.#finished);
        this.#backoff.reset();
        if (refused > 0) this.#lose(refused, 'it refused records permanently');
        else this.#resumed();
      } catch (error) {
        if (signal.aborted) break;
        this.#failed(messageOf(error));
        const least = error instanceof RetryLater ? error.afterMs : 0;
        // The delay ends early when the hub stops.
        await delay(this.#clock, Math.max(least, this.#backoff.next()), signal).catch(() => undefined);
      }
    }
    this.#running = undefined;
  }

  /** Waits for more records: a batch costs a message to a thread and a commit, so a batch should hold many records. */
  #gather(): Promise<void> {
    const isUrgent = this.#waiting.length > 0 || this.#closed !== undefined;
    if (this.#gatherMs === 0 || isUrgent || this.#queue.length >= this.#maxBatch) {
      return new Promise((resolve) => setImmediate(resolve));
    }
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel();
        this.#stopGathering = undefined;
        resolve();
      };
      const timer = this.#clock.setTimer(this.#gatherMs, done);
      this.#stopGathering = done;
    });
  }

  /** Delivers one batch. Rejects with the signal's reason as soon as the signal aborts, even if the target never answers. */
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
    this.#release(this.#pushed);
    if (this.#lostInOutage !== undefined) return;
    this.#lostInOutage = 0;
    this.#onEvent({ type: 'log-failed', sink: this.name, problem });
  }

  /** Reports the end of an outage once half the queue is free; otherwise a target at its limit would be reported again and again. */
  #resumed(): void {
    const lost = this.#lostInOutage;
    if (lost === undefined || this.#queue.length > this.#maxQueued / 2) return;
    this.#lostInOutage = undefined;
    this.#onEvent({ type: 'log-resumed', sink: this.name, lost });
  }

  /** Resolves the callers of `settled` that wait for no more than the first `left` records. */
  #release(left: number): void {
    const ready = this.#waiting.filter(({ until }) => until <= left);
    this.#waiting = this.#waiting.filter(({ until }) => until > left);
    for (const { resolve } of ready) resolve();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
