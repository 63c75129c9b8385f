import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  CulvertError,
  type ErrorCode,
  LIMITS,
  parseRefusal,
  REFUSAL_HEADER,
  STREAM_SUBPROTOCOL,
} from '@culvert/protocol';
import type { Grant } from '@culvert/protocol/grant';
import { type ClientOptions, WebSocket } from 'ws';
import type { ClientCertificate } from './client-certificate.ts';
import { type Clock, systemClock } from './clock.ts';
import type { ConnectionAhead } from './connection-ahead.ts';
import { abortReason, deadline, linkSignals } from './deadline.ts';
import { networkError } from './network-error.ts';
import { didNotAnswer, OPEN_MS } from './opening.ts';
import { type OutboundOptions, outboundAgent } from './outbound.ts';
import { type WebSocketDuplexOptions, webSocketDuplex } from './websocket-duplex.ts';

/** How to open a WebSocket. */
export interface DialOptions {
  /** Authority, proxy and name; default as {@link outboundAgent}. */
  readonly outbound?: OutboundOptions;
  /** Shown to the server when it asks for one. */
  readonly certificate?: ClientCertificate;
  /** Gives up opening; after that it has no effect. */
  readonly signal?: AbortSignal;
  /** WebSocket subprotocols to offer; the server must choose one of them. Default none. */
  readonly protocols?: string[];
  /** Headers of the upgrade request. */
  readonly headers?: Record<string, string>;
  /** Milliseconds until the WebSocket must be open; default {@link OPEN_MS}, which always bounds all but the upgrade. */
  readonly timeoutMs?: number;
  /** Bytes of the longest message accepted; default `LIMITS.messageBytes`. */
  readonly maxPayload?: number;
  /** Default {@link systemClock}. */
  readonly clock?: Clock;
  /** Called when the connection that is being made has its file descriptor, which a process may run out of. */
  readonly onUnderWay?: () => void;
  /** Called with the connection, whose certificate is verified by then, right before the WebSocket opens on it. */
  readonly onSecured?: (connection: Socket) => void;
}

/** DialOptions of a stream: what the grant settles is not asked again, and a gateway is never shown who the device is to the hub. */
export type DialStreamOptions = Omit<DialOptions, 'protocols' | 'headers' | 'certificate'>;

interface AheadOption {
  /** A connection that was begun before, to be used if it leads there. */
  readonly ahead?: ConnectionAhead;
}

/** The longest time a timer of Node takes, 25 days in milliseconds. */
const NEVER_MS = 2 ** 31 - 1;

/**
 * Opens a WebSocket over TLS and resolves with it paused, so that no early message is lost: listen, then `resume()` it.
 * @param url `wss://…`
 * @throws CulvertError `unreachable`, `untrusted`, `unauthorized`, `too_many_requests`, `draining`, the signal's reason, …
 */
export function dialWebSocket(url: string, options: DialOptions = {}): Promise<WebSocket> {
  return dial(url, options, 'unauthorized', {
    take: (socket) => {
      // Before it opens `pause` does nothing, and right after it messages flow.
      socket.once('open', () => socket.pause());
      return socket;
    },
    drop: (socket) => socket.terminate(),
  });
}

/**
 * Opens a WebSocket over TLS as a {@link webSocketDuplex}.
 * @throws CulvertError as {@link dialWebSocket}
 */
export function dialDuplex(url: string, options: DialOptions & WebSocketDuplexOptions = {}): Promise<Duplex> {
  return dial(url, options, 'unauthorized', asDuplex(options));
}

/**
 * Connects to the gateway with a grant and resolves when the gateway has accepted it; the other side may connect later.
 * @throws CulvertError `grant_invalid` when the gateway rejects the grant; otherwise as {@link dialWebSocket}
 */
export function dialStream(
  grant: Grant,
  options: DialStreamOptions & WebSocketDuplexOptions & AheadOption = {},
): Promise<Duplex> {
  return dial(grant.url, streamOptions(grant, options), 'grant_invalid', asDuplex(options));
}

/** As {@link dialStream}, but resolves with the WebSocket itself, paused: listen, then `resume()` it. */
export function dialStreamWebSocket(grant: Grant, options: DialStreamOptions & AheadOption = {}): Promise<WebSocket> {
  return dial(grant.url, streamOptions(grant, options), 'grant_invalid', {
    take: (socket) => {
      socket.once('open', () => socket.pause());
      return socket;
    },
    drop: (socket) => socket.terminate(),
  });
}

function streamOptions(grant: Grant, options: DialStreamOptions & AheadOption): DialOptions & AheadOption {
  // By type there is none, but a type does not keep a caller's object from having one.
  const { certificate: _, ...allowed }: DialOptions & AheadOption = options;
  return { ...allowed, protocols: [STREAM_SUBPROTOCOL], headers: { Authorization: `Bearer ${grant.token}` } };
}

/** In which form a socket is handed to the caller; taken in the turn in which it is made, so that nothing is lost. */
interface Form<T> {
  /** What the socket is made with beside what all are. */
  readonly socket?: { readonly closeTimeout: number };
  take(socket: WebSocket): T;
  drop(socket: WebSocket, taken: T): void;
}

function asDuplex(options: WebSocketDuplexOptions): Form<Duplex> {
  return {
    // The Duplex bounds the time after our Close by itself, and the library would cut an answer that takes longer.
    socket: { closeTimeout: NEVER_MS },
    take(socket) {
      const duplex = webSocketDuplex(socket, options);
      // Until the caller holds it nobody else listens: a failure is then told by the promise, or by `errored`.
      const ignore = (): void => {};
      duplex.on('error', ignore);
      socket.once('open', () => setImmediate(() => duplex.off('error', ignore)));
      return duplex;
    },
    drop: (_socket, duplex) => duplex.destroy(),
  };
}

async function dial<T>(url: string, options: DialOptions & AheadOption, refused: ErrorCode, form: Form<T>): Promise<T> {
  const target = parseTarget(url);
  const where = `${target.hostname}:${target.port || '443'}`;
  const timeoutMs = options.timeoutMs ?? OPEN_MS;
  const clock = options.clock ?? systemClock;
  const limit = deadline(clock, timeoutMs, () => didNotAnswer(where, timeoutMs));
  const linked = linkSignals([options.signal, limit.signal]);
  try {
    const { outbound, certificate, onUnderWay, onSecured } = options;
    const shown = certificate === undefined ? {} : { certificate };
    const agent =
      (await options.ahead?.agentFor(target)) ??
      (await outboundAgent(target, { ...outbound, ...shown, clock, onUnderWay }));
    if (linked.signal.aborted) {
      agent.destroy();
      throw abortReason(linked.signal);
    }
    const socket = new WebSocket(target, options.protocols ?? [], { ...clientOptions(options), ...form.socket, agent });
    const taken = form.take(socket);
    if (onSecured !== undefined) socket.once('upgrade', (response) => onSecured(response.socket));
    try {
      await opened(socket, { signal: linked.signal, where, refused });
      return taken;
    } catch (error) {
      form.drop(socket, taken);
      throw error;
    } finally {
      // The open socket has left the agent; whatever a refusal left behind goes.
      agent.destroy();
    }
  } finally {
    limit.cancel();
    linked.unlink();
  }
}

function parseTarget(url: string): URL {
  const target = URL.canParse(url) ? new URL(url) : undefined;
  if (target?.protocol !== 'wss:')
    throw new CulvertError('argument_invalid', 'The address of a hub begins with wss://.');
  return target;
}

function clientOptions(options: DialOptions): ClientOptions {
  return {
    headers: options.headers ?? {},
    maxPayload: options.maxPayload ?? LIMITS.messageBytes,
    perMessageDeflate: false,
    followRedirects: false,
    // Masking is there for proxies that read plain HTTP (RFC 6455 §10.3); inside TLS the zero key says the same and costs nothing.
    generateMask: (mask) => mask.fill(0),
  };
}

interface Opening {
  readonly signal: AbortSignal;
  readonly where: string;
  /** What an answer of 401 means. */
  readonly refused: ErrorCode;
}

function opened(socket: WebSocket, { signal, where, refused }: Opening): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      signal.removeEventListener('abort', onAbort);
      socket.off('open', onOpen).off('unexpected-response', onResponse);
    };
    const fail = (error: CulvertError): void => {
      settle();
      reject(error);
    };
    const onAbort = (): void => fail(abortReason(signal));
    const onOpen = (): void => {
      settle();
      socket.off('error', onError);
      resolve();
    };
    // Stays after a failure: giving up a connection that is being made raises an error of its own.
    const onError = (error: Error): void => fail(networkError(error, where));
    const onResponse = (_request: ClientRequest, response: IncomingMessage): void => {
      response.resume();
      fail(parseRefusal(response.headers[REFUSAL_HEADER]) ?? refusal(response.statusCode ?? 0, where, refused));
    };
    signal.addEventListener('abort', onAbort);
    socket.on('open', onOpen).on('error', onError).on('unexpected-response', onResponse);
  });
}

const REFUSALS: Readonly<Record<number, ErrorCode>> = {
  403: 'forbidden',
  404: 'route_not_found',
  429: 'too_many_requests',
  503: 'draining',
};

function refusal(status: number, where: string, refused: ErrorCode): CulvertError {
  const code = status === 401 ? refused : REFUSALS[status];
  if (code !== undefined) return new CulvertError(code, `${where} refused the connection (HTTP ${status}).`);
  return new CulvertError('unreachable', `${where} answered HTTP ${status} instead of opening a WebSocket.`);
}
