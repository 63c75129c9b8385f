import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { type Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { CulvertError, formatHostPort } from '@culvert/protocol';
import {
  AGENT_KEEP_ALIVE,
  abortReason,
  type Clock,
  deadline,
  linkSignals,
  networkError,
  outboundAgent,
} from '@culvert/stream';

/** Milliseconds that one request may take, including its response. */
const REQUEST_MS = 30_000;

/** Bytes of a response body after which the rest is discarded; the chunk that reaches this size is kept whole. */
const MAX_ANSWER_BYTES = 65_536;

/** The destination of POST requests. */
export interface Endpoint {
  /** With the scheme `https:` or `http:`. */
  readonly url: URL;
  /** Headers sent with each request. They are secret: never log or display them. */
  readonly headers: Readonly<Record<string, string>>;
  /** PEM certificates of authorities that are trusted in addition to the system's. */
  readonly ca?: string | undefined;
}

/** An endpoint's response. */
export interface HttpAnswer {
  readonly status: number;
  /** Milliseconds to wait before the next request (from `Retry-After`); undefined when the header is absent. */
  readonly retryAfterMs: number | undefined;
  /** The beginning of the response body: about 64 KiB. */
  readonly body: string;
}

/** Sends JSON to one endpoint by POST over a keep-alive connection, through the outbound proxy if the environment names one. */
export class HttpPost {
  readonly #endpoint: Endpoint;
  readonly #clock: Clock;
  #agent: Promise<HttpAgent | HttpsAgent> | undefined;

  constructor(endpoint: Endpoint, clock: Clock) {
    this.#endpoint = endpoint;
    this.#clock = clock;
  }

  /** The host and port as written in the URL. */
  get host(): string {
    return this.#endpoint.url.host;
  }

  /** @throws CulvertError `unreachable` (also after 30 s without a response), `untrusted`, `too_large` (body over 1 MiB); the signal's reason */
  async post(body: string, signal: AbortSignal): Promise<HttpAnswer> {
    const limit = deadline(
      this.#clock,
      REQUEST_MS,
      () => new CulvertError('unreachable', `${this.host} did not answer within ${REQUEST_MS / 1_000} seconds.`),
    );
    const linked = linkSignals([signal, limit.signal]);
    try {
      return await this.#exchange(body, linked.signal, true);
    } finally {
      linked.unlink();
      limit.cancel();
    }
  }

  async close(): Promise<void> {
    const agent = await this.#agent?.catch(() => undefined);
    agent?.destroy();
  }

  /** @param again whether to retry once if the endpoint has closed the idle keep-alive connection, which is not an outage */
  async #exchange(body: string, signal: AbortSignal, again: boolean): Promise<HttpAnswer> {
    const { url, headers, ca } = this.#endpoint;
    const secure = url.protocol === 'https:';
    this.#agent ??= secure
      ? outboundAgent(url, ca === undefined ? {} : { ca })
      : Promise.resolve(new HttpAgent(AGENT_KEEP_ALIVE));
    const agent = await this.#agent;
    const data = Buffer.from(body);
    return new Promise((resolve, reject) => {
      if (signal.aborted) throw abortReason(signal);
      const options = {
        ...{ agent, method: 'POST' },
        headers: { 'content-type': 'application/json', 'content-length': data.length, ...headers },
      };
      const onResponse = (response: IncomingMessage): void => {
        const { statusCode = 0, headers: received } = response;
        const after = received['retry-after'] ?? '';
        const retryAfterMs = /^\d{1,6}$/.test(after) ? Number(after) * 1_000 : undefined;
        read(response).then((text) => resolve({ status: statusCode, retryAfterMs, body: text }), fail);
      };
      const request = secure ? httpsRequest(url, options, onResponse) : httpRequest(url, options, onResponse);
      const abort = () => request.destroy(abortReason(signal));
      const where = formatHostPort(url.hostname, Number(url.port || (secure ? 443 : 80)));
      const fail = (error: unknown): void => {
        reject(error instanceof CulvertError ? error : networkError(error, where));
      };
      signal.addEventListener('abort', abort, { once: true });
      request.once('close', () => signal.removeEventListener('abort', abort));
      request.on('error', (error: NodeJS.ErrnoException) => {
        const stale = request.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
        if (stale && again) resolve(this.#exchange(body, signal, false));
        else fail(error);
      });
      request.end(data);
    });
  }
}

/** Reads the beginning of a response; the rest is discarded, so that the connection can be reused. */
async function read(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    if (size < MAX_ANSWER_BYTES) chunks.push(chunk);
    size += chunk.length;
    if (size > 16 * MAX_ANSWER_BYTES) throw new CulvertError('too_large', 'The response is longer than 1 MiB.');
  }
  return Buffer.concat(chunks).toString('utf8');
}
