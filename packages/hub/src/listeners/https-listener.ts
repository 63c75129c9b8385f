import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { CONTROL_PATH } from '@culvert/protocol';
import { isGatewayPath } from '@culvert/protocol/grant';
import { type Clock, destroyConnection } from '@culvert/stream';
import type { ProxySources } from '../config/proxy-sources.ts';
import { certificateRequest, type ServerPair, secureContext } from '../tls/secure-context.ts';
import { beforeTls, type NamedHostTls } from './before-tls.ts';
import { HandshakeBudget } from './handshake-budget.ts';
import { RequestQueue } from './request-queue.ts';
import type { UnauthenticatedConnections } from './unauthenticated-connections.ts';

/** Handles an upgraded connection; resolves to true once its peer has authenticated. Never rejects. */
export type UpgradeHandler = (request: IncomingMessage, socket: TLSSocket, head: Buffer) => Promise<boolean>;

export interface HttpsListenerOptions {
  readonly pair: ServerPair;
  /** 48 bytes, shared with other listeners so that a client can resume its TLS session at any of them. */
  readonly ticketKeys?: Buffer;
  /** Whether a certificate is requested from every client; default false. */
  readonly asksForCertificate?: boolean;
  /** A separate TLS server for clients that request one of its host names. */
  readonly namedHosts?: NamedHostTls | undefined;
  /** The load balancers that may connect; each of their connections must begin with a PROXY header. Absent: no PROXY header is expected. */
  readonly proxies?: ProxySources | undefined;
  /** May be shared with other listeners; default: a budget for this listener alone. */
  readonly budget?: HandshakeBudget | undefined;
  readonly clock: Clock;
  readonly unauthenticated: UnauthenticatedConnections;
  /** Milliseconds that a client has for the TLS handshake, and for the headers of each request. */
  readonly authenticateMs: number;
  /** Milliseconds without a byte in either direction after which a REST connection is closed; must be longer than a stream request may be held. */
  readonly idleMs: number;
  readonly onRequest: (request: IncomingMessage, response: ServerResponse) => void;
  /** Absent: this listener accepts no control channels. */
  readonly onControl?: UpgradeHandler;
  readonly onGateway: UpgradeHandler;
  /** Called when a connection is refused before its TLS handshake is complete. The error is a `CulvertError` unless TLS itself refused the connection. */
  readonly onTlsError: (error: Error, remoteAddress: string) => void;
}

/** Milliseconds a connection is kept open for the next request: longer than the 60 s that are usual for load balancers, so that they close it first. */
const KEEP_ALIVE_MS = 65_000;

/** Maximum bytes of a request's URL and headers: several times a grant's token (under 1,000 bytes) or a SAS token (4 KiB). */
const MAX_HEADER_BYTES = 16_384;

/** Response status for an invalid HTTP request, by the error code of Node or of its parser; 400 for every other code. */
const BROKEN_REQUESTS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: '413 Payload Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

const HTTP_ALPN = ['http/1.1'];

type ListenerTlsOptions = Pick<HttpsListenerOptions, 'pair' | 'asksForCertificate' | 'authenticateMs'>;

type GuardOptions = Pick<
  HttpsListenerOptions,
  'unauthenticated' | 'clock' | 'asksForCertificate' | 'namedHosts' | 'proxies' | 'budget' | 'onTlsError'
>;

const tlsOptions = ({ pair, asksForCertificate = false, authenticateMs }: ListenerTlsOptions) => ({
  ...secureContext(pair, asksForCertificate),
  ...certificateRequest(asksForCertificate),
  handshakeTimeout: authenticateMs,
});

/** The main TLS port for REST requests, control channels and stream upgrades; the path of a request determines which of them it is. */
export function createHttpsListener(options: HttpsListenerOptions): Server {
  const server = createServer({
    ...tlsOptions(options),
    ...(options.ticketKeys === undefined ? {} : { ticketKeys: options.ticketKeys }),
    ALPNProtocols: HTTP_ALPN,
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: options.authenticateMs,
    requestTimeout: 3 * options.authenticateMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // Interval between two checks for slow clients; Node's default of 30 s would triple the limit above.
    connectionsCheckingInterval: 2_000,
    noDelay: true,
    // The offer to upgrade a REST request is ignored (RFC 9110 §7.8); the request is answered normally, and in order.
    shouldUpgradeCallback: (request: IncomingMessage) => upgradeHandler(request, options) !== undefined,
  });
  guard(server, options);
  // Limits how long the hub holds a response that the peer does not read.
  server.timeout = options.idleMs;
  const requests = new RequestQueue({
    handle: options.onRequest,
    mayStay: (socket) => !options.unauthenticated.has(socket),
  });
  server.on('secureConnection', (socket: TLSSocket) => requests.watch(socket));
  const take = (request: IncomingMessage, response: ServerResponse): void => requests.take(request, response);
  server.on('request', take);
  // Without this listener, Node answers requests with an unknown Expect header itself and without a limit. The header may be ignored
  // (RFC 9110 §10.1.1), so such requests are queued like others.
  server.on('checkExpectation', take);
  server.on('upgrade', (request: IncomingMessage, socket: TLSSocket, head: Buffer) => {
    const all = requests.upgrade(socket, head);
    if (all !== undefined) void upgrade(request, socket, all, options);
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable) return destroyConnection(socket);
    refuse(socket, BROKEN_REQUESTS[error.code ?? ''] ?? '400 Bad Request');
  });
  return server;
}

/** A TLS server that requests client certificates, for the {@link NamedHostTls} of a main listener. */
export function createCertificateTls(options: Pick<HttpsListenerOptions, 'pair' | 'authenticateMs'>): TlsServer {
  return createTlsServer({ ...tlsOptions({ ...options, asksForCertificate: true }), ALPNProtocols: HTTP_ALPN });
}

/** A separate listener for one transport over TLS, for devices that do not use WebSocket. */
export function createControlListener(
  options: ListenerTlsOptions &
    Omit<GuardOptions, 'namedHosts'> & {
      /** ALPN protocol names: a client that offers any must offer one of these. Absent: the transport has no ALPN name. */
      alpn?: readonly string[] | undefined;
      onConnection: (socket: TLSSocket) => Promise<boolean>;
    },
): TlsServer {
  const alpn = options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] };
  const server = createTlsServer({ ...tlsOptions(options), ...alpn });
  guard(server, options);
  server.on('secureConnection', (socket: TLSSocket) => {
    socket.on('error', () => destroyConnection(socket));
    socket.setNoDelay(true);
    void options
      .onConnection(socket)
      .then((authenticated) => authenticated && options.unauthenticated.authenticated(socket));
  });
  return server;
}

function guard(server: Server | TlsServer, options: GuardOptions): void {
  const { asksForCertificate = false, budget = new HandshakeBudget(), onTlsError: onRefused } = options;
  beforeTls(server, { ...options, asksForCertificate, budget, onRefused });
}

async function upgrade(
  request: IncomingMessage,
  socket: TLSSocket,
  head: Buffer,
  options: HttpsListenerOptions,
): Promise<void> {
  socket.on('error', () => destroyConnection(socket));
  // The upgraded protocol has timeouts of its own.
  socket.setTimeout(0);
  const handler = upgradeHandler(request, options);
  // Node before 24.9 emits `upgrade` for every request that offers an upgrade.
  if (handler === undefined) return refuse(socket, '404 Not Found');
  if (await handler(request, socket, head)) options.unauthenticated.authenticated(socket);
}

function upgradeHandler(
  request: IncomingMessage,
  { onControl, onGateway }: Pick<HttpsListenerOptions, 'onControl' | 'onGateway'>,
): UpgradeHandler | undefined {
  const path = (request.url ?? '').split('?', 1)[0] as string;
  if (isGatewayPath(path)) return onGateway;
  return isControlPath(path) ? onControl : undefined;
}

/** Sends the status for a request that no handler receives, and closes the connection. */
function refuse(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`, () => destroyConnection(socket));
}

// Clients send the `$` of the path unescaped or as `%24`.
function isControlPath(path: string): boolean {
  return path.replace(/^\/%24/, '/$') === CONTROL_PATH;
}
