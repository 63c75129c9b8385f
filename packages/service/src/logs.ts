import { CONTINUATION_HEADER, CulvertError, type LogCategory, type ResourceLogRecord } from '@culvert/protocol';
import { Backoff, type Clock, delay } from '@culvert/stream';
import { jsonObject, objectsOf } from './json-answer.ts';
import { logEvents } from './log-events.ts';
import type { RestClient } from './rest-client.ts';

/** A filter of records; all given fields must match. */
export interface LogFilterOptions {
  readonly device?: string | undefined;
  /** A module of that device; without it, the device and all its modules. */
  readonly module?: string | undefined;
  /** The id of one stream. */
  readonly stream?: string | undefined;
  readonly category?: LogCategory | undefined;
  /** `ok`, `failed`, a six-digit code such as `404103`, or an error code such as `device_offline`. */
  readonly result?: string | undefined;
  /** Earliest time, inclusive. */
  readonly since?: Date | undefined;
  /** Latest time, exclusive. */
  readonly until?: Date | undefined;
}

/** How to read existing records. */
export interface ListLogOptions extends LogFilterOptions {
  /** Default: newest first. */
  readonly order?: 'newest' | 'oldest' | undefined;
  /** Records per page, 1 to 1,000; default 1,000. */
  readonly top?: number | undefined;
  /** The `continuation` of the previous page; absent for the first page. */
  readonly continuation?: string | undefined;
}

/** A page of records. */
export interface LogPage {
  readonly records: ResourceLogRecord[];
  /** Continuation token for the next page; absent on the last page. */
  readonly continuation?: string | undefined;
}

/** How to follow new records. */
export interface LogEventsOptions extends Omit<LogFilterOptions, 'until'> {
  /** Ends following. */
  readonly signal?: AbortSignal | undefined;
  /** Called when the connection was lost; the next attempt is in `waitMs` milliseconds. */
  readonly onLost?: ((error: CulvertError, waitMs: number) => void) | undefined;
  /** Called when the connection is re-established. */
  readonly onBack?: (() => void) | undefined;
  /** Called when the hub has skipped `count` records because they were not read in time. {@link Logs.list} returns them. */
  readonly onDropped?: ((count: number) => void) | undefined;
}

/** The hub's resource log: records of connections and streams, with identity, time, bytes and result. Requires the permission `MonitorRead`. */
export class Logs {
  readonly #rest: RestClient;
  readonly #clock: Clock;

  /** @internal */
  constructor(rest: RestClient, clock: Clock) {
    this.#rest = rest;
    this.#clock = clock;
  }

  /** Returns one page of the matching records. */
  async listPage(options: ListLogOptions = {}): Promise<LogPage> {
    const { continuation, order, top = 1_000 } = options;
    const answer = await this.#rest.send({
      method: 'GET',
      path: path(options, { order, top: String(top) }),
      ...(continuation === undefined ? {} : { headers: { [CONTINUATION_HEADER]: continuation } }),
    });
    const { records } = jsonObject<{ records: unknown }>(answer.body);
    const next = answer.headers[CONTINUATION_HEADER];
    const page = objectsOf<ResourceLogRecord>(records, 'time', 'operationName', 'category', 'properties');
    return { records: page, ...(typeof next === 'string' ? { continuation: next } : {}) };
  }

  /** Yields all matching records; pages are fetched as needed. */
  async *list(options: ListLogOptions = {}): AsyncGenerator<ResourceLogRecord> {
    let { continuation } = options;
    do {
      const page: LogPage = await this.listPage({ ...options, continuation });
      yield* page.records;
      continuation = page.continuation;
    } while (continuation !== undefined);
  }

  /**
   * Yields the records since `since`, then new records as they are written. If the connection is lost, it is retried without limit, and the records
   * written meanwhile are yielded first: no record is skipped unless `onDropped` is called.
   * @throws CulvertError if the first connection fails; later only for errors that a retry does not resolve, such as `unauthorized`, `forbidden` or
   *   `argument_invalid`; the signal's reason, else `aborted`
   */
  async *follow(options: LogEventsOptions = {}): AsyncGenerator<ResourceLogRecord> {
    const { signal, onLost, onBack, onDropped } = options;
    const backoff = new Backoff();
    let lastId = '';
    let connected = false;
    for (;;) {
      let lost: CulvertError;
      try {
        const headers = { accept: 'text/event-stream', ...(lastId === '' ? {} : { 'last-event-id': lastId }) };
        const response = await this.#rest.open(path(options, { follow: 'true' }), headers, signal);
        if (connected) onBack?.();
        connected = true;
        for await (const { id, type, data } of logEvents(response, this.#clock, signal)) {
          backoff.reset();
          lastId = id;
          if (type === 'dropped') onDropped?.(jsonObject<{ count: number }>(data).count);
          else if (data !== '') yield jsonObject<ResourceLogRecord>(data, 'time', 'operationName', 'properties');
        }
        lost = new CulvertError('draining', 'The hub ended the connection.');
      } catch (error) {
        lost = CulvertError.from(signal?.aborted ? signal.reason : error, 'aborted');
        if (!connected || signal?.aborted || !(lost.row.retryable || lost.code === 'untrusted')) throw lost;
      }
      const waitMs = backoff.next();
      onLost?.(lost, waitMs);
      await delay(this.#clock, waitMs, signal);
    }
  }
}

function path(filter: LogFilterOptions, more: Readonly<Record<string, string | undefined>>): string {
  const { device, module, stream, category, result, since, until } = filter;
  const times = { since: since?.toISOString(), until: until?.toISOString() };
  const given = Object.entries({ device, module, stream, category, result, ...times, ...more });
  const query = given.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`]));
  return `/logs?${query.join('&')}`;
}
