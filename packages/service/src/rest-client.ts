import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Agent, RequestOptions } from 'node:https';
import { CulvertError, formatHostPort, parseErrorBody, type ServiceConnectionString } from '@culvert/protocol';
import { type Clock, type Deadline, deadline, linkSignals, type OutboundOptions, outboundAgent } from '@culvert/stream';
import { collect, exchange, openResponse } from './exchange.ts';
import { TokenSource } from './token-source.ts';

/** Milliseconds a request may take unless it says otherwise: the longest list page over a slow line. */
const REQUEST_MS = 30_000;

/** One REST call. */
export interface RestRequest {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** Path and query, encoded. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Milliseconds until the whole answer is there; default 30,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** Whether the call proves who it is; default true. */
  readonly authorized?: boolean;
  /** Whether it may be made twice when a kept connection turns out to have been closed by the hub; default true for GET alone. */
  readonly repeatable?: boolean;
}

/** A successful answer. */
export interface RestAnswer {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Speaks REST to one hub over kept connections. */
export class RestClient {
  readonly #address: ServiceConnectionString;
  readonly #outbound: OutboundOptions;
  readonly #clock: Clock;
  readonly #tokens: TokenSource;
  #agent: Promise<Agent> | undefined;
  #pending = 0;
  #closed = false;

  constructor(address: ServiceConnectionString, outbound: OutboundOptions, clock: Clock) {
    this.#address = address;
    this.#outbound = outbound;
    this.#clock = clock;
    this.#tokens = new TokenSource(address, clock);
  }

  /**
   * Makes a call and returns its answer of status 200 to 299.
   * @throws CulvertError what the hub answered; `unreachable`, `untrusted`; the signal's reason, else `aborted`
   */
  async send(call: RestRequest): Promise<RestAnswer> {
    if (this.#closed) throw new CulvertError('aborted', 'The client has been closed.');
    const { timeoutMs = REQUEST_MS } = call;
    const limit = answerLimit(this.#clock, timeoutMs);
    const linked = linkSignals([call.signal, limit.signal]);
    this.#pending++;
    try {
      return await this.#exchange(call, linked.signal);
    } finally {
      linked.unlink();
      limit.cancel();
      this.#pending--;
      if (this.#closed) this.#release();
    }
  }

  /**
   * Makes a call whose answer goes on and on, and resolves with the beginning of one of status 200 to 299. Whoever reads it destroys it in the end;
   * the call's signal ends it too.
   * @throws CulvertError as {@link send}
   */
  async open(call: RestRequest): Promise<IncomingMessage> {
    if (this.#closed) throw new CulvertError('aborted', 'The client has been closed.');
    const { timeoutMs = REQUEST_MS } = call;
    const limit = answerLimit(this.#clock, timeoutMs);
    const linked = linkSignals([call.signal, limit.signal]);
    this.#pending++;
    const over = (): void => {
      linked.unlink();
      this.#pending--;
      if (this.#closed) this.#release();
    };
    try {
      const { options, body } = await this.#request(call);
      const response = await openResponse(options, body, linked.signal, call.repeatable ?? call.method === 'GET');
      const { statusCode = 0 } = response;
      if (statusCode < 200 || statusCode > 299) throw parseErrorBody(statusCode, await collect(response));
      response.once('close', over);
      return response;
    } catch (error) {
      over();
      throw error;
    } finally {
      limit.cancel();
    }
  }

  async #exchange(call: RestRequest, signal: AbortSignal): Promise<RestAnswer> {
    const { options, body } = await this.#request(call);
    const { status, ...answer } = await exchange(options, body, signal, call.repeatable ?? call.method === 'GET');
    if (status < 200 || status > 299) throw parseErrorBody(status, answer.body);
    return answer;
  }

  async #request(call: RestRequest): Promise<{ options: RequestOptions; body: Buffer | undefined }> {
    const { host, port } = this.#address;
    const origin = new URL(`https://${formatHostPort(host, port)}`);
    this.#agent ??= outboundAgent(origin, this.#outbound);
    const agent = await this.#agent;
    const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
    const headers = {
      ...(call.authorized === false ? {} : { authorization: await this.#tokens.token() }),
      ...(body === undefined ? {} : { 'content-type': 'application/json; charset=utf-8' }),
      ...(call.method === 'GET' ? {} : { 'content-length': `${body?.length ?? 0}` }),
      ...call.headers,
    };
    return { options: { agent, host, port, method: call.method, path: call.path, headers }, body };
  }

  /** Takes no more calls; the connections go as soon as the calls under way have ended. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#release();
  }

  #release(): void {
    if (this.#pending > 0) return;
    const agent = this.#agent;
    this.#agent = undefined;
    agent?.then(
      (made) => made.destroy(),
      // The agent could not be made: every call that wanted it has reported that, and there is nothing to release.
      () => undefined,
    );
  }
}

function answerLimit(clock: Clock, ms: number): Deadline {
  const text = `The hub did not answer within ${Math.ceil(ms / 1_000)} seconds.`;
  return deadline(clock, ms, () => new CulvertError('unreachable', text));
}
