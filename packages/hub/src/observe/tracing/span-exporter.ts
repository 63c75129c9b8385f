import { type Clock, delay } from '@culvert/stream';
import type { HttpPost } from '../http-post.ts';
import { type OtlpSpan, tracesRequest } from './otlp-span.ts';

/** Maximum queued spans, about 2 MB (OpenTelemetry's default). Further spans are dropped and counted. */
const MAX_WAITING = 2_048;

/** Maximum spans in one request (OpenTelemetry's default). */
const MAX_BATCH = 512;

/** Milliseconds that the first span of an empty queue waits, so that more spans are sent in the same batch. */
const GATHER_MS = 5_000;

/** Milliseconds before a retry: `first` before the first retry, then doubled up to `longest`. */
const RETRY_MS = { first: 1_000, longest: 30_000 };

/** Milliseconds in which the queue is sent when the hub stops. */
const CLOSE_MS = 5_000;

/** HTTP statuses that permit a retry (OTLP/HTTP, "Retryable Response Codes"). */
const RETRYABLE = new Set([429, 502, 503, 504]);

/** Sends spans in batches to a collector by OTLP/HTTP with JSON. Never blocks; spans that cannot be delivered are dropped and counted. */
export class SpanExporter {
  readonly #post: HttpPost;
  readonly #resource: { readonly version: string; readonly instance: string };
  readonly #clock: Clock;
  #queue: OtlpSpan[] = [];
  #dropped = 0;
  readonly #closing = new AbortController();
  readonly #aborting = new AbortController();
  #running: Promise<void> | undefined;

  /** @param options.post posts to the collector's `/v1/traces`; the exporter closes it */
  constructor(options: { post: HttpPost; version: string; instance: string; clock: Clock }) {
    this.#post = options.post;
    this.#resource = options;
    this.#clock = options.clock;
  }

  /** Spans dropped since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  add(span: OtlpSpan): void {
    if (this.#queue.length >= MAX_WAITING) {
      this.#dropped++;
      return;
    }
    this.#queue.push(span);
    this.#running ??= this.#send().finally(() => {
      this.#running = undefined;
    });
  }

  /** Sends the queue for at most five seconds. Spans that are not sent by then are dropped and counted. */
  async close(): Promise<void> {
    this.#closing.abort();
    const timer = this.#clock.setTimer(CLOSE_MS, () => this.#aborting.abort());
    await this.#running;
    timer.cancel();
    this.#dropped += this.#queue.length;
    this.#queue = [];
    await this.#post.close();
  }

  async #send(): Promise<void> {
    await this.#wait(GATHER_MS);
    let retry = RETRY_MS.first;
    while (this.#queue.length > 0) {
      const batch = this.#queue.slice(0, MAX_BATCH);
      const last = this.#closing.signal.aborted;
      const { outcome, retryAfterMs } = await this.#sendBatch(batch);
      if (outcome === 'later') {
        if (last) return;
        await this.#wait(Math.max(retryAfterMs ?? 0, retry));
        retry = Math.min(2 * retry, RETRY_MS.longest);
        continue;
      }
      if (outcome === 'refused') this.#dropped += batch.length;
      this.#queue.splice(0, batch.length);
      retry = RETRY_MS.first;
    }
  }

  async #sendBatch(batch: readonly OtlpSpan[]) {
    const body = tracesRequest(batch, this.#resource.version, this.#resource.instance);
    try {
      const { status, retryAfterMs } = await this.#post.post(body, this.#aborting.signal);
      const outcome = status < 300 ? 'taken' : RETRYABLE.has(status) ? 'later' : 'refused';
      return { outcome, retryAfterMs } as const;
    } catch {
      return { outcome: 'later', retryAfterMs: undefined } as const;
    }
  }

  /** Waits `ms` milliseconds, or until `close()` is called. */
  #wait(ms: number): Promise<void> {
    return delay(this.#clock, ms, this.#closing.signal).catch(() => undefined);
  }
}
