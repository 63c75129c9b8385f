import { CulvertError, ERRORS } from '@culvert/protocol';
import type { LogRecord } from '../resource-log/log-entry.ts';
import { type LogFilter, matches, type StoredRecord } from './log-query.ts';

/** Maximum subscribers of the log: each holds a connection and up to a thousand records. */
const MAX_SUBSCRIBERS = 64;

/** Maximum records queued for one subscriber, about a megabyte. */
const MAX_QUEUED = 1_000;

/** What a subscriber receives: a record, or the number of records skipped because it was too slow. */
export type Followed =
  | { readonly kind: 'record'; readonly record: StoredRecord }
  | { readonly kind: 'dropped'; readonly count: number };

/** All current subscribers of the log. */
export class LogSubscribers {
  readonly #subscribers = new Set<LogSubscriber>();
  #sequence = 0;

  /** Delivers a record to every subscriber whose filter matches. Never waits. */
  push(record: LogRecord): void {
    this.#sequence = record.sequence;
    const number = record.error === undefined ? '' : String(ERRORS[record.error].azure[0]);
    for (const subscriber of this.#subscribers) {
      if (matches(subscriber.filter, record, number)) subscriber.push(record);
    }
  }

  /** @throws CulvertError `too_many_requests` */
  add(filter: LogFilter): LogSubscriber {
    if (this.#subscribers.size >= MAX_SUBSCRIBERS) {
      throw new CulvertError('too_many_requests', `${MAX_SUBSCRIBERS} follow the log already.`);
    }
    const subscriber = new LogSubscriber(filter, this.#sequence, (gone) => this.#subscribers.delete(gone));
    this.#subscribers.add(subscriber);
    return subscriber;
  }

  /** Ends all subscriptions after their queued records. */
  close(): void {
    for (const subscriber of this.#subscribers) subscriber.close();
  }

  get size(): number {
    return this.#subscribers.size;
  }
}

/** A subscriber of the log. */
export class LogSubscriber {
  readonly filter: LogFilter;
  /** The last record before the subscription began. */
  readonly after: number;
  readonly #onGone: (self: LogSubscriber) => void;
  readonly #queue: LogRecord[] = [];
  #dropped = 0;
  #closed = false;
  #wake: () => void = () => undefined;

  constructor(filter: LogFilter, after: number, onGone: (self: LogSubscriber) => void) {
    this.filter = filter;
    this.after = after;
    this.#onGone = onGone;
  }

  push(record: LogRecord): void {
    if (this.#queue.length >= MAX_QUEUED) this.#dropped++;
    else this.#queue.push(record);
    this.#wake();
  }

  /** Whether the subscription has ended. */
  get closed(): boolean {
    return this.#closed;
  }

  /** The next item; undefined when the subscription has ended. One call at a time. */
  async next(): Promise<Followed | undefined> {
    for (;;) {
      const record = this.#queue.shift();
      if (record !== undefined) return { kind: 'record', record };
      const count = this.#dropped;
      this.#dropped = 0;
      if (count > 0) return { kind: 'dropped', count };
      if (this.#closed) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Ends the subscription after its queued records. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#onGone(this);
    this.#wake();
  }
}
