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
import { type Clock, inBackground, systemClock } from './clock.ts';
import type { ConnectionAhead } from './connection-ahead.ts';
import { abortReason, deadline, linkSignals } from './deadline.ts';
import { networkError } from './network-error.ts';
import { didNotAnswer, OPEN_MS } from './opening.ts';
import { type OutboundOptions, outboundAgent } from './outbound.ts';
import { type WebSocketDuplexOptions, webSocketDuplex } from './websocket-duplex.ts';

/** How to open a WebSocket. */
export interface DialOptions {
  /** CA, proxy and server name; defaults as for {@link outboundAgent}. */
  readonly outbound?: OutboundOptions;
  /** Presented to the server if it requests a client certificate. */
  readonly certificate?: ClientCertificate;
  /** Aborts the opening. Has no effect once the WebSocket is open. */
  readonly signal?: AbortSignal;
  /** WebSocket subprotocols to offer; the server must choose one of them. Default none. */
  readonly protocols?: string[];
  /** Headers of the upgrade request. */
  readonly headers?: Record<string, string>;
  /** Milliseconds within which the WebSocket must be open; default {@link OPEN_MS}. All steps before the upgrade are always limited by {@link OPEN_MS}. */
  readonly timeoutMs?: number;
  /** Maximum bytes of a received message; default `LIMITS.messageBytes`. */
  readonly maxPayload?: number;
  /** Default {@link systemClock}. */
  readonly clock?: Clock;
  /** Called when the connection that is being opened has its file descriptor: it can then no longer fail for a lack of file descriptors. */
  readonly onUnderWay?: () => void;
  /** Called with the connection right before the WebSocket opens on it. The server's certificate has been verified by then. */
  readonly onSecured?: (connection: Socket) => void;
  /** Whether the open connection, and its timers, keep the process alive; default true. While it is being opened it always does. */
  readonly keepsAlive?: boolean;
}

/** DialOptions of a stream. The grant determines subprotocol and headers. The device's certificate is for the hub only, never for a gateway. */
export type DialStreamOptions = Omit<DialOptions, 'protocols' | 'headers' | 'certificate'>;

interface AheadOption {
  /** A connection opened ahead, which is used if it is to the same server. */
  readonly ahead?: ConnectionAhead;
}

/** The longest delay in milliseconds that a Node timer supports: 25 days. */
const NEVER_MS = 2 ** 31 - 1;

/**
 * Opens a WebSocket over TLS and resolves with it paused, so that no early message is lost: add listeners, then call `resume()`.
 * @param url `wss://…`
 * @throws CulvertError `unreachable`, `untrusted`, `unauthorized`, `too_many_requests`, `draining`, the signal's reason, …
 */
export function dialWebSocket(url: string, options: DialOptions = {}): Promise<WebSocket> {
  return dial(url, options, 'unauthorized', {
    take: (socket) => {
      // Before 'open', `pause` has no effect; right after 'open', messages are emitted.
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

/** As {@link dialStream}, but resolves with the WebSocket itself, paused: add listeners, then call `resume()`. */
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
  // The type has no `certificate`, but a caller's object may still contain one.
  const { certificate: _, ...allowed }: DialOptions & AheadOption = options;
  return { ...allowed, protocols: [STREAM_SUBPROTOCOL], headers: { Authorization: `Bearer ${grant.token}` } };
}

/** How a socket is converted for the caller. This is done in the event-loop iteration in which the socket is created, so that no data is lost. */
interface Form<T> {
  /** Additional constructor options of the socket. */
  readonly socket?: { readonly closeTimeout: number };
  take(socket: WebSocket): T;
  drop(socket: WebSocket, taken: T): void;
}

function asDuplex(options: WebSocketDuplexOptions & Pick<DialOptions, 'keepsAlive'>): Form<Duplex> {
  return {
    // The Duplex itself limits the time after this side's Close; the library's own limit would cut off a longer answer.
    socket: { closeTimeout: NEVER_MS },
    take(socket) {
      const { keepsAlive = true, clock = systemClock } = options;
      const duplex = webSocketDuplex(socket, keepsAlive ? options : { ...options, clock: inBackground(clock) });
      // Until the caller has the Duplex, it has no other 'error' listener. The promise, or `errored`, reports a failure until then.
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
    if (options.keepsAlive === false) socket.once('upgrade', (response) => response.socket.unref());
    try {
      await opened(socket, { signal: linked.signal, where, refused });
      return taken;
    } catch (error) {
      form.drop(socket, taken);
      throw error;
    } finally {
      // An open socket no longer belongs to the agent. This closes what a refused attempt left open.
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
    throw new CulvertError('argument_invalid', 'The URL of a hub must begin with wss://.');
  return target;
}

function clientOptions(options: DialOptions): ClientOptions {
  return {
    headers: options.headers ?? {},
    maxPayload: options.maxPayload ?? LIMITS.messageBytes,
    perMessageDeflate: false,
    followRedirects: false,
    // Masking protects proxies that read plain HTTP (RFC 6455 §10.3). Inside TLS that is unnecessary, and a key of zeros saves the work.
    generateMask: (mask) => mask.fill(0),
  };
}

interface Opening {
  readonly signal: AbortSignal;
  readonly where: string;
  /** The error code for HTTP status 401. */
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
    // This listener stays after a failure, because aborting a connection that is being opened emits another error.
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
