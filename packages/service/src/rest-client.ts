import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Agent } from 'node:https';
import { CulvertError, formatHostPort, parseErrorBody, type ServiceConnectionString } from '@culvert/protocol';
import {
  type Clock,
  type Deadline,
  deadline,
  inBackground,
  type KnownHub,
  linkSignals,
  type OutboundAgentOptions,
  type OutboundOptions,
  outboundAgent,
} from '@culvert/stream';
import { readEvents } from './event-stream.ts';
import { exchange, openExchange } from './exchange.ts';
import { TokenSource } from './token-source.ts';

/** Milliseconds a request may take by default: enough for the longest list page over a slow line. */
const REQUEST_MS = 30_000;

/** One REST call. */
export interface RestRequest {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** Path and query, encoded. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The body, sent as JSON. */
  readonly body?: unknown;
  /** Milliseconds within which the whole answer must have arrived; default 30,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** Whether the call is authenticated; default true. */
  readonly authorized?: boolean;
  /** Whether the request may be repeated if the hub had closed the keep-alive connection; default true for GET, else false. */
  readonly repeatable?: boolean;
  /** Whether the call is made even after {@link RestClient.close}: for streams that go on. Default false. */
  readonly afterClose?: boolean;
  /** Whether the call keeps the process alive until it is answered; default true. */
  readonly keepsAlive?: boolean;
}

/** A successful answer. */
export interface RestAnswer {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** The hub that sent the answer. */
  readonly hub: KnownHub;
}

/** A REST client of one hub, with keep-alive connections. */
export class RestClient {
  readonly #address: ServiceConnectionString;
  readonly #agentOptions: OutboundAgentOptions;
  readonly #clock: Clock;
  readonly #tokens: TokenSource;
  #agent: Promise<Agent> | undefined;
  /** Aborted when the client is closed; this ends event streams. */
  readonly #closing = new AbortController();
  #pending = 0;
  #closed = false;

  constructor(address: ServiceConnectionString, outbound: OutboundOptions, clock: Clock) {
    this.#address = address;
    this.#agentOptions = { ...outbound, clock };
    this.#clock = clock;
    this.#tokens = new TokenSource(address, clock);
  }

  /**
   * Makes a call and returns its answer if the status is 200 to 299.
   * @throws CulvertError the hub's error for any other status; `unreachable`, `untrusted`; the signal's reason, else `aborted`
   */
  async send(call: RestRequest): Promise<RestAnswer> {
    if (this.#closed && call.afterClose !== true) throw new CulvertError('aborted', 'The client has been closed.');
    const clock = call.keepsAlive === false ? inBackground(this.#clock) : this.#clock;
    const limit = answerLimit(clock, call.timeoutMs ?? REQUEST_MS);
    const linked = linkSignals([call.signal, limit.signal]);
    this.#pending++;
    try {
      return await this.#exchange(call, linked.signal);
    } finally {
      linked.unlink();
      limit.cancel();
      this.#pending--;
      if (this.#closed) this.#destroyAgentIfIdle();
    }
  }

  /**
   * Yields server-sent events until the caller stops reading; reconnects when the token has expired.
   * @throws CulvertError as {@link send}, and the reason for which the hub ended the events
   */
  async *follow<N extends { readonly event: string; readonly data: unknown }>(
    path: string,
    signal?: AbortSignal,
  ): AsyncGenerator<Exclude<N, { event: 'cut' }>, void, undefined> {
    if (this.#closed) throw new CulvertError('aborted', 'The client has been closed.');
    const linked = linkSignals([signal, this.#closing.signal]);
    this.#pending++;
    try {
      for (;;) {
        const response = await openExchange(await this.#subscribeRequest(path), linked.signal);
        try {
          yield* readEvents<N>(response, { clock: this.#clock, signal: linked.signal });
          return;
        } catch (error) {
          if (!(error instanceof CulvertError) || error.code !== 'token_expired') throw error;
        }
      }
    } finally {
      linked.unlink();
      this.#pending--;
      if (this.#closed) this.#destroyAgentIfIdle();
    }
  }

  async #subscribeRequest(path: string) {
    const { host, port } = this.#address;
    this.#agent ??= outboundAgent(new URL(`https://${formatHostPort(host, port)}`), this.#agentOptions);
    const headers = { authorization: await this.#tokens.token(), accept: 'text/event-stream' };
    return { agent: await this.#agent, host, port, method: 'GET', path, headers };
  }

  async #exchange(call: RestRequest, signal: AbortSignal): Promise<RestAnswer> {
    const { host, port } = this.#address;
    const origin = new URL(`https://${formatHostPort(host, port)}`);
    this.#agent ??= outboundAgent(origin, this.#agentOptions);
    const agent = await this.#agent;
    const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
    const headers = {
      ...(call.authorized === false ? {} : { authorization: await this.#tokens.token() }),
      ...(body === undefined ? {} : { 'content-type': 'application/json; charset=utf-8' }),
      ...(call.method === 'GET' ? {} : { 'content-length': `${body?.length ?? 0}` }),
      ...call.headers,
    };
    const options = { agent, host, port, method: call.method, path: call.path, headers };
    const { repeatable = call.method === 'GET', keepsAlive = true } = call;
    const answer = await exchange(options, body, { signal, repeatable, keepsAlive });
    if (answer.status < 200 || answer.status > 299) throw parseErrorBody(answer.status, answer.body);
    return { headers: answer.headers, body: answer.body, hub: { host, certificate: answer.certificate } };
  }

  /**
   * Makes a GET request with an endless response and resolves when the response begins. The caller must destroy the response, also when `signal`
   * aborts.
   * @throws CulvertError as {@link send}
   */
  async open(
    path: string,
    wanted: Readonly<Record<string, string>>,
    signal: AbortSignal | undefined,
  ): Promise<IncomingMessage> {
    if (this.#closed) throw new CulvertError('aborted', 'The client has been closed.');
    const { host, port } = this.#address;
    const limit = answerLimit(this.#clock, REQUEST_MS);
    const linked = linkSignals([signal, limit.signal]);
    this.#pending++;
    const callEnded = (): void => {
      this.#pending--;
      if (this.#closed) this.#destroyAgentIfIdle();
    };
    try {
      this.#agent ??= outboundAgent(new URL(`https://${formatHostPort(host, port)}`), this.#agentOptions);
      const headers = { authorization: await this.#tokens.token(), ...wanted };
      const options = { agent: await this.#agent, host, port, method: 'GET', path, headers };
      const response = await openExchange(options, linked.signal);
      response.once('close', callEnded);
      return response;
    } catch (error) {
      callEnded();
      throw error;
    } finally {
      linked.unlink();
      limit.cancel();
    }
  }

  /** Refuses further calls, except those with `afterClose`. The connections are closed when all current calls have ended. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#closing.abort(new CulvertError('aborted', 'The client has been closed.'));
    this.#destroyAgentIfIdle();
  }

  #destroyAgentIfIdle(): void {
    if (this.#pending > 0) return;
    const agent = this.#agent;
    this.#agent = undefined;
    agent?.then(
      (made) => made.destroy(),
      // The agent could not be created. Every call has reported that error, and there is nothing to release.
      () => undefined,
    );
  }
}

function answerLimit(clock: Clock, ms: number): Deadline {
  const text = `The hub did not answer within ${Math.ceil(ms / 1_000)} seconds.`;
  return deadline(clock, ms, () => new CulvertError('unreachable', text));
}
