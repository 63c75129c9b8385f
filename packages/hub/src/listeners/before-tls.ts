import { AsyncLocalStorage } from 'node:async_hooks';
import type { Server as HttpsServer } from 'node:https';
import type { Socket, Server as TcpServer } from 'node:net';
import type { TLSSocket, Server as TlsServer } from 'node:tls';
import { CulvertError, LIMITS, peerAddress } from '@culvert/protocol';
import { type Clock, destroyConnection, stateKeepAlive } from '@culvert/stream';
import { addressGroup } from '../auth/address-group.ts';
import type { ProxySources } from '../config/proxy-sources.ts';
import { readServerName } from '../tls/client-hello.ts';
import type { HandshakeBudget } from './handshake-budget.ts';
import { HandshakeSocket } from './handshake-socket.ts';
import { type ProxiedClient, readProxyHeader } from './proxy-header.ts';
import { ReceivedBytes } from './received-bytes.ts';
import type { UnauthenticatedConnections } from './unauthenticated-connections.ts';

/** A separate TLS server for clients that request one of these host names (TLS SNI). */
export interface NamedHostTls {
  /** Lower case. */
  readonly names: ReadonlySet<string>;
  /** Requests client certificates. Has no listening socket: the main listener passes connections to it. */
  readonly server: TlsServer;
}

export interface BeforeTlsOptions {
  readonly unauthenticated: UnauthenticatedConnections;
  readonly clock: Clock;
  /** Whether the listener's own TLS requests a certificate from every client. */
  readonly asksForCertificate: boolean;
  /** A separate TLS server for clients that request one of its host names. */
  readonly namedHosts?: NamedHostTls | undefined;
  /** The load balancers that may connect; each of their connections must begin with a PROXY header. Absent: no PROXY header is expected. */
  readonly proxies?: ProxySources | undefined;
  /** Limits the processor time of handshakes in which a client certificate is requested. */
  readonly budget: HandshakeBudget;
  /** Called when a connection is refused before its TLS handshake is complete; not called when the client resets the connection. */
  readonly onRefused: (error: Error, remoteAddress: string) => void;
}

/** A connection whose TLS handshake is not complete. */
interface IncomingConnection {
  readonly socket: Socket;
  /** The client's address; the load balancer's address until the PROXY header has been received. */
  address: string;
  client: ProxiedClient | undefined;
  /** The socket below TLS when a client certificate is requested. */
  handshakeSocket: HandshakeSocket | undefined;
}

/** The connection that an event of a TLS server belongs to; the event itself has only the TLS socket. */
const incomingConnections = new AsyncLocalStorage<IncomingConnection>();

/**
 * Handles each connection of a listener before TLS: counts it, reads its PROXY header where one is expected, and reads the requested host name from
 * the ClientHello. Only then does it start TLS, which needs much more memory. Must be called before other code listens to the server's events.
 *
 * A TLS server starts TLS on its event `connection`; Node's documentation of the event allows other code to emit it.
 */
export function beforeTls(server: TlsServer | HttpsServer, options: BeforeTlsOptions): void {
  const { unauthenticated, onRefused, namedHosts } = options;
  const listener: TcpServer = server;
  const startTls = listener.listeners('connection');
  listener.removeAllListeners('connection');
  const own = { asksForCertificate: options.asksForCertificate, start: (socket: unknown) => startAll(socket) };
  const startAll = (socket: unknown): void => {
    for (const start of startTls) start.call(server, socket);
  };
  const named = {
    asksForCertificate: true,
    start: (socket: unknown) =>
      void (namedHosts?.server as TcpServer | undefined)?.emit('connection', socket as Socket),
  };
  listener.on('connection', (socket: Socket) => {
    // A reset by the peer before the handshake is complete is not reported.
    socket.on('error', () => destroyConnection(socket));
    stateKeepAlive(socket, 'accepted');
    receive(socket, options, (incoming, name, bytes) => {
      const isNamed = name !== undefined && namedHosts?.names.has(name) === true;
      begin(incoming, bytes, isNamed ? named : own, options);
    });
  });
  const onDone = (secure: TLSSocket): void => {
    const incoming = incomingConnections.getStore();
    if (incoming === undefined || !unauthenticated.handshakeDone(incoming.socket, secure)) destroyConnection(secure);
    else describe(secure, incoming);
  };
  const onFailed = (error: NodeJS.ErrnoException, secure: TLSSocket): void => {
    const address = incomingConnections.getStore()?.address ?? peerAddress(secure);
    // A client that disconnects on its own was not refused; the probes of load balancers do so continually.
    if (error.code !== 'ECONNRESET') onRefused(error, address);
    destroyConnection(secure);
  };
  server.prependListener('secureConnection', onDone);
  server.on('tlsClientError', onFailed);
  namedHosts?.server.on('secureConnection', (secure) => server.emit('secureConnection', secure));
  namedHosts?.server.on('tlsClientError', onFailed);
}

/** Reads the PROXY header, where one is expected, and the ClientHello; then calls `onComplete` with the requested host name and the TLS bytes read so far. */
function receive(
  socket: Socket,
  { unauthenticated, proxies, onRefused }: BeforeTlsOptions,
  onComplete: (incoming: IncomingConnection, name: string | undefined, bytes: Buffer) => void,
): void {
  const incoming: IncomingConnection = {
    socket,
    address: peerAddress(socket),
    client: undefined,
    handshakeSocket: undefined,
  };
  const from = socket.remoteAddress ?? '';
  // Checked before the connection is counted, so that it takes no place of a connection that may come from here.
  if (proxies?.has(incoming.address) === false) {
    destroyConnection(socket);
    const detail = 'Only the load balancers of proxyProtocolFrom may connect here.';
    onRefused(new CulvertError('unauthorized', detail), incoming.address);
    return;
  }
  if (!unauthenticated.admit(socket, proxies === undefined ? from : undefined)) return;
  const refuse = (error: CulvertError): void => {
    socket.off('data', onData);
    destroyConnection(socket);
    onRefused(error, incoming.address);
  };
  let expectsHeader = proxies !== undefined;
  let received = new ReceivedBytes();
  let atLeast = 1;
  /** Returns true once the header is complete; false while bytes are missing, and when the connection has been closed. */
  const readHeader = (): boolean => {
    const reading = readProxyHeader(received.bytes);
    if ('problem' in reading) refuse(new CulvertError('protocol_error', reading.problem));
    else if ('atLeast' in reading) atLeast = reading.atLeast;
    else {
      expectsHeader = false;
      atLeast = 1;
      const rest = received.bytes.subarray(reading.length);
      received = new ReceivedBytes();
      received.push(rest);
      incoming.client = reading.client;
      if (reading.client !== undefined) incoming.address = peerAddress({ remoteAddress: reading.client.address });
      return unauthenticated.readdress(socket, incoming.address);
    }
    return false;
  };
  const readHello = (): void => {
    const { bytes } = received;
    if (bytes.length < atLeast) return;
    const reading = readServerName(bytes);
    if ('atLeast' in reading) atLeast = reading.atLeast;
    else if ('tooLong' in reading) {
      refuse(new CulvertError('too_large', `A ClientHello of more than ${LIMITS.tlsHandshakeBytes} bytes.`));
    } else {
      socket.off('data', onData);
      socket.off('end', onEnd);
      socket.pause();
      onComplete(incoming, reading.name, bytes);
    }
  };
  const onEnd = (): void => destroyConnection(socket);
  const onData = (chunk: Buffer): void => {
    received.push(chunk);
    if (received.bytes.length < atLeast) return;
    if (expectsHeader && !readHeader()) return;
    readHello();
  };
  socket.on('end', onEnd);
  socket.on('data', onData);
}

function begin(
  incoming: IncomingConnection,
  bytes: Buffer,
  tls: { readonly asksForCertificate: boolean; readonly start: (socket: unknown) => void },
  { unauthenticated, budget, clock, onRefused }: BeforeTlsOptions,
): void {
  const { socket, address } = incoming;
  if (!tls.asksForCertificate) {
    if (!unauthenticated.handshakeBegun(socket)) return;
    socket.unshift(bytes);
    incomingConnections.run(incoming, () => tls.start(socket));
    return;
  }
  const group = addressGroup(address);
  // Called again for each chunk: the cost of handshakes that began at the same time is known only as they continue.
  const mayContinue = (): boolean => {
    if (budget.admits(group, clock.now())) return true;
    const detail = 'The handshakes with certificates of this address have used up their processor time.';
    onRefused(new CulvertError('too_many_requests', detail), address);
    destroyConnection(incoming.handshakeSocket ?? socket);
    return false;
  };
  if (!unauthenticated.has(socket) || !mayContinue()) return;
  budget.begun(group, clock.now());
  unauthenticated.handshakeBegun(socket);
  const handshakeSocket = new HandshakeSocket(socket, bytes, {
    maxBytes: LIMITS.tlsHandshakeBytes,
    mayContinue,
    onTooLong() {
      onRefused(new CulvertError('too_large', `A handshake of more than ${LIMITS.tlsHandshakeBytes} bytes.`), address);
      // TLS has processed all bytes passed to it before this is called, so it is not in the middle of its work.
      destroyConnection(handshakeSocket);
    },
    onWork: (ms) => budget.charge(group, ms, clock.now()),
  });
  incoming.handshakeSocket = handshakeSocket;
  incomingConnections.run(incoming, () => tls.start(handshakeSocket));
}

/** Gives the TLS socket the addresses and the settings methods of the TCP socket, and the client's address from the PROXY header if there is one. */
function describe(secure: TLSSocket, { socket, client, handshakeSocket }: IncomingConnection): void {
  handshakeSocket?.open();
  if (handshakeSocket !== undefined) {
    // The same value as for TLS directly on a TCP socket.
    secure.allowHalfOpen = false;
    const { localAddress, localPort, remoteAddress, remotePort, remoteFamily } = socket;
    define(secure, { localAddress, localPort, remoteAddress, remotePort, remoteFamily });
    for (const name of ['setNoDelay', 'setKeepAlive'] as const) {
      define(secure, { [name]: (...values: unknown[]) => Reflect.apply(socket[name], socket, values) && secure });
    }
  }
  if (client === undefined) return;
  const remoteFamily = client.address.includes(':') ? 'IPv6' : 'IPv4';
  define(secure, { remoteAddress: client.address, remotePort: client.port, remoteFamily });
}

function define(socket: TLSSocket, properties: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(properties))
    Object.defineProperty(socket, name, { value, configurable: true, enumerable: true });
}
