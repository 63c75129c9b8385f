import { Backoff, type Clock, type Timer } from '@culvert/stream';
import type { EventSink } from '../events.ts';
import { LogDelivery } from '../resource-log/log-delivery.ts';
import type { LogRecord } from '../resource-log/log-entry.ts';
import type { LogThreadStart } from './log-calls.ts';
import type { LogFilter, LogPage, LogQuery } from './log-query.ts';
import { type Followed, LogSubscribers } from './log-subscribers.ts';
import { LogThread } from './log-thread.ts';

/** Maximum records in one commit. */
const MAX_BATCH = 1_000;

/** Maximum milliseconds a record waits to be committed together with others; a crash may lose that much. A query commits at once. */
const GATHER_MS = 100;

/** Records per page read from the disk for a subscriber that also wants earlier records. */
const REPLAY_PAGE = 500;

/** Milliseconds between two checks for parts past retention, when no new part triggers one. */
const TIDY_MS = 3_600_000;

/** Milliseconds to write the last records to the disk when the hub stops. */
const CLOSE_MS = 5_000;

/** Where a subscriber continues: after the record with this id. */
export interface LogPosition {
  readonly time: number;
  readonly sequence: number;
}

/** A subscription to the log: records until `close()` or until the hub stops. */
export interface LogFollowing extends AsyncIterable<Followed> {
  /** The id of the record after which it begins; undefined when earlier records are delivered first. */
  readonly position: LogPosition | undefined;
  close(): void;
}

/** The log as the REST API reads it. */
export interface LogReader {
  /** One page. @throws CulvertError `too_many_requests`, `internal` */
  list(query: LogQuery): Promise<LogPage>;
  /**
   * New records, preceded by those after `after` or, without it, since the filter's `since`; with neither, new records only.
   * @throws CulvertError `too_many_requests`
   */
  follow(filter: LogFilter, after?: LogPosition): LogFollowing;
}

/** The resource log on disk: written by the hub, queried and subscribed to by REST. */
export class LogStore implements LogReader {
  readonly #thread: LogThread;
  readonly #delivery: LogDelivery;
  readonly #subscribers = new LogSubscribers();
  readonly #clock: Clock;
  #tidying: Timer;

  constructor(options: LogThreadStart & { readonly clock: Clock; readonly onEvent: EventSink }) {
    const { directory, retention, clock, onEvent } = options;
    this.#clock = clock;
    this.#thread = new LogThread({ directory, retention }, () => clock.now());
    this.#delivery = new LogDelivery({
      ...{ name: 'store', target: this.#thread, clock, onEvent, maxBatch: MAX_BATCH, gatherMs: GATHER_MS },
      // Retry soon after the disk has room again: the queue holds only about a minute of a busy hub's records.
      backoff: new Backoff({ minMs: 1_000, maxMs: 5_000 }),
    });
    this.#tidying = this.#tidyLater();
  }

  /** Queues a record for the disk and for the subscribers. Never throws, never waits. */
  push(record: LogRecord): void {
    this.#delivery.push(record);
    this.#subscribers.push(record);
  }

  /** Records that never reached the disk. */
  get lost(): number {
    return this.#delivery.lost;
  }

  async list(query: LogQuery): Promise<LogPage> {
    // Flush pending records so that the query sees them.
    await this.#delivery.settled();
    return this.#thread.query(query);
  }

  follow(filter: LogFilter, after?: LogPosition): LogFollowing {
    const subscriber = this.#subscribers.add(filter);
    const begun = this.#clock.now();
    const since = after?.time ?? filter.since;
    const list = (query: LogQuery) => this.list(query);
    async function* records(): AsyncGenerator<Followed> {
      try {
        let page: LogPage | undefined;
        while (since !== undefined && !subscriber.closed && (page === undefined || page.next !== undefined)) {
          page = await list({ ...filter, since, order: 'oldest', top: REPLAY_PAGE, after: page?.next });
          for (const record of page.records) {
            const { time, sequence } = record;
            const seen = after !== undefined && time === after.time && sequence <= after.sequence;
            // The subscriber's queue contains this record too.
            const isQueued = time >= begun && sequence > subscriber.after;
            if (!seen && !isQueued) yield { kind: 'record', record };
          }
        }
        for (let next = await subscriber.next(); next !== undefined; next = await subscriber.next()) yield next;
      } finally {
        subscriber.close();
      }
    }
    const position = since === undefined ? { time: begun, sequence: subscriber.after } : undefined;
    return { position, [Symbol.asyncIterator]: records, close: () => subscriber.close() };
  }

  /** Ends all subscriptions. */
  endFollowing(): void {
    this.#subscribers.close();
  }

  /** Writes pending records, within five seconds. Idempotent. */
  close(): Promise<void> {
    this.#tidying.cancel();
    this.endFollowing();
    return this.#delivery.close(CLOSE_MS);
  }

  #tidyLater(): Timer {
    return this.#clock.setTimer(TIDY_MS, () => {
      this.#thread.tidy();
      this.#tidying = this.#tidyLater();
    });
  }
}
