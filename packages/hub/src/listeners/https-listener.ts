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

/** Takes an upgraded connection; true once its peer has proved who it is. Never rejects. */
export type UpgradeHandler = (request: IncomingMessage, socket: TLSSocket, head: Buffer) => Promise<boolean>;

export interface HttpsListenerOptions {
  readonly pair: ServerPair;
  /** 48 bytes shared with other listeners, where a client may take up its TLS session at any of them. */
  readonly ticketKeys?: Buffer;
  /** Whether every client is asked for a certificate; default false. */
  readonly asksForCertificate?: boolean;
  /** Other TLS for those who name one of these hosts. */
  readonly namedHosts?: NamedHostTls | undefined;
  /** Whose connections begin with a PROXY header, all of them; absent: nobody's do. */
  readonly proxies?: ProxySources | undefined;
  /** Shared with other listeners; default one of its own. */
  readonly budget?: HandshakeBudget | undefined;
  readonly clock: Clock;
  readonly unauthenticated: UnauthenticatedConnections;
  /** Milliseconds for the TLS handshake, and for a request's headers to arrive. */
  readonly authenticateMs: number;
  /** Milliseconds without a byte either way after which a connection of REST is ended; longer than a request for a stream may be held. */
  readonly idleMs: number;
  readonly onRequest: (request: IncomingMessage, response: ServerResponse) => void;
  /** Absent: there are no control channels here. */
  readonly onControl?: UpgradeHandler;
  readonly onGateway: UpgradeHandler;
  /** A connection was ended before its TLS handshake was done. A `CulvertError` where it was not TLS that refused it. */
  readonly onTlsError: (error: Error, remoteAddress: string) => void;
}

/** Milliseconds a connection is kept for the next request: longer than the 60 s of usual load balancers, so they close first. */
const KEEP_ALIVE_MS = 65_000;

/** Bytes of a request's head; a grant's token of under 1,000 and a SAS token of 4 KiB fit in several times. */
const MAX_HEADER_BYTES = 16_384;

/** What a request that is no HTTP is answered, by Node's or its parser's error code; a plain 400 for every other. */
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

/** The one TLS port for everything: REST requests, control channels and stream upgrades, told apart by their path. */
export function createHttpsListener(options: HttpsListenerOptions): Server {
  const server = createServer({
    ...tlsOptions(options),
    ...(options.ticketKeys === undefined ? {} : { ticketKeys: options.ticketKeys }),
    ALPNProtocols: HTTP_ALPN,
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: options.authenticateMs,
    requestTimeout: 3 * options.authenticateMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // Slow clients are looked for this often; Node's default of 30 s would triple the bound above.
    connectionsCheckingInterval: 2_000,
    noDelay: true,
    // Whoever offers to upgrade a REST request is answered as if not (RFC 9110 §7.8), and in order.
    shouldUpgradeCallback: (request: IncomingMessage) => upgradeHandler(request, options) !== undefined,
  });
  guard(server, options);
  // Bounds what a peer who does not take its answer makes the hub hold.
  server.timeout = options.idleMs;
  const requests = new RequestQueue({
    handle: options.onRequest,
    mayStay: (socket) => !options.unauthenticated.has(socket),
  });
  server.on('secureConnection', (socket: TLSSocket) => requests.watch(socket));
  server.on('request', (request: IncomingMessage, response: ServerResponse) => requests.take(request, response));
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

/** TLS that asks for a certificate, for a front listener's {@link NamedHostTls}. */
export function createCertificateTls(options: Pick<HttpsListenerOptions, 'pair' | 'authenticateMs'>): TlsServer {
  return createTlsServer({ ...tlsOptions({ ...options, asksForCertificate: true }), ALPNProtocols: HTTP_ALPN });
}

/** A listener of its own for one transport over TLS, for devices that speak no WebSocket. */
export function createControlListener(
  options: ListenerTlsOptions &
    Omit<GuardOptions, 'namedHosts'> & {
      /** ALPN names one of which a client must offer if it offers any; absent where the transport has none. */
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
  // What is spoken from here on has bounds of its own.
  socket.setTimeout(0);
  const handler = upgradeHandler(request, options);
  // Node before 24.9 upgrades every request that offers it.
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

/** Answers what no route will see, and ends the connection. */
function refuse(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`, () => destroyConnection(socket));
}

// Clients write the `$` of the path raw or escaped.
function isControlPath(path: string): boolean {
  return path.replace(/^\/%24/, '/$') === CONTROL_PATH;
}
