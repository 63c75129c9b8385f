import { CulvertError, ERRORS } from '@culvert/protocol';
import type { LogRecord } from '../resource-log/log-entry.ts';
import { type LogFilter, matches, type StoredRecord } from './log-query.ts';

/** Maximum subscribers of the log: each holds a connection and up to a thousand records. */
const MAX_FOLLOWERS = 64;

/** Maximum records queued for one subscriber, about a megabyte. */
const MAX_QUEUED = 1_000;

/** What a subscriber receives: a record, or the number of records skipped because it was too slow. */
export type Followed =
  | { readonly kind: 'record'; readonly record: StoredRecord }
  | { readonly kind: 'dropped'; readonly count: number };

/** All current subscribers of the log. */
export class LogFollowers {
  readonly #followers = new Set<LogFollower>();
  #sequence = 0;

  /** Delivers a record to every subscriber whose filter matches. Never waits. */
  push(record: LogRecord): void {
    this.#sequence = record.sequence;
    const number = record.error === undefined ? '' : String(ERRORS[record.error].azure[0]);
    for (const follower of this.#followers) {
      if (matches(follower.filter, record, number)) follower.push(record);
    }
  }

  /** @throws CulvertError `too_many_requests` */
  add(filter: LogFilter): LogFollower {
    if (this.#followers.size >= MAX_FOLLOWERS) {
      throw new CulvertError('too_many_requests', `${MAX_FOLLOWERS} follow the log already.`);
    }
    const follower = new LogFollower(filter, this.#sequence, (gone) => this.#followers.delete(gone));
    this.#followers.add(follower);
    return follower;
  }

  /** Ends all subscriptions after their queued records. */
  close(): void {
    for (const follower of this.#followers) follower.close();
  }

  get size(): number {
    return this.#followers.size;
  }
}

/** A subscriber of the log. */
export class LogFollower {
  readonly filter: LogFilter;
  /** The last record before the subscription began. */
  readonly after: number;
  readonly #onGone: (self: LogFollower) => void;
  readonly #queue: LogRecord[] = [];
  #dropped = 0;
  #closed = false;
  #wake: () => void = () => undefined;

  constructor(filter: LogFilter, after: number, onGone: (self: LogFollower) => void) {
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
