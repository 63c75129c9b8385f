import { type Clock, delay } from '@culvert/stream';
import type { HttpPost } from '../http-post.ts';
import { type OtlpSpan, tracesRequest } from './otlp-span.ts';

/** Maximum queued spans, about 2 MB: OpenTelemetry's own default. Further ones are dropped and counted. */
const MAX_WAITING = 2_048;

/** Spans in one request; OpenTelemetry's own default. */
const MAX_BATCH = 512;

/** Milliseconds the first span of a batch waits for more. */
const GATHER_MS = 5_000;

/** Milliseconds before a retry: starts at the first, doubles up to the second. */
const RETRY_MS = { first: 1_000, longest: 30_000 };

/** Milliseconds for sending the queue when the hub stops. */
const CLOSE_MS = 5_000;

/** Statuses that permit a retry (OTLP/HTTP, "Retryable Response Codes"). */
const RETRYABLE = new Set([429, 502, 503, 504]);

/** Sends spans to a collector by OTLP/HTTP with JSON, in batches. Never blocks; spans that cannot be delivered are dropped and counted. */
export class SpanExporter {
  readonly #post: HttpPost;
  readonly #resource: { readonly version: string; readonly instance: string };
  readonly #clock: Clock;
  #waiting: OtlpSpan[] = [];
  #dropped = 0;
  readonly #closing = new AbortController();
  readonly #cut = new AbortController();
  #running: Promise<void> | undefined;

  /** @param options.post to the collector's `/v1/traces`; closed with the exporter */
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
    if (this.#waiting.length >= MAX_WAITING) {
      this.#dropped++;
      return;
    }
    this.#waiting.push(span);
    this.#running ??= this.#send().finally(() => {
      this.#running = undefined;
    });
  }

  /** Sends the queue, five seconds at most. */
  async close(): Promise<void> {
    this.#closing.abort();
    const timer = this.#clock.setTimer(CLOSE_MS, () => this.#cut.abort());
    await this.#running;
    timer.cancel();
    this.#dropped += this.#waiting.length;
    this.#waiting = [];
    await this.#post.close();
  }

  async #send(): Promise<void> {
    await this.#wait(GATHER_MS);
    let retry = RETRY_MS.first;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, MAX_BATCH);
      const last = this.#closing.signal.aborted;
      const { outcome, retryAfterMs } = await this.#sendBatch(batch);
      if (outcome === 'later') {
        if (last) return;
        await this.#wait(Math.max(retryAfterMs ?? 0, retry));
        retry = Math.min(2 * retry, RETRY_MS.longest);
        continue;
      }
      if (outcome === 'refused') this.#dropped += batch.length;
      this.#waiting.splice(0, batch.length);
      retry = RETRY_MS.first;
    }
  }

  async #sendBatch(batch: readonly OtlpSpan[]) {
    const body = tracesRequest(batch, this.#resource.version, this.#resource.instance);
    try {
      const { status, retryAfterMs } = await this.#post.post(body, this.#cut.signal);
      const outcome = status < 300 ? 'taken' : RETRYABLE.has(status) ? 'later' : 'refused';
      return { outcome, retryAfterMs } as const;
    } catch {
      return { outcome: 'later', retryAfterMs: undefined } as const;
    }
  }

  /** Ends sooner when the hub stops. */
  #wait(ms: number): Promise<void> {
    return delay(this.#clock, ms, this.#closing.signal).catch(() => undefined);
  }
}
