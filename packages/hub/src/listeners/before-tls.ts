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

/** TLS for the clients that want to reach a host of these names. */
export interface NamedHostTls {
  /** Lower case. */
  readonly names: ReadonlySet<string>;
  /** Asks for a certificate. Does not listen itself. */
  readonly server: TlsServer;
}

export interface BeforeTlsOptions {
  readonly unauthenticated: UnauthenticatedConnections;
  readonly clock: Clock;
  /** Whether the listener's own TLS asks every client for a certificate. */
  readonly asksForCertificate: boolean;
  /** Other TLS for those who name one of these hosts. */
  readonly namedHosts?: NamedHostTls | undefined;
  /** Whose connections begin with a PROXY header, all of them; absent: nobody's do. */
  readonly proxies?: ProxySources | undefined;
  /** Where a certificate is asked for. */
  readonly budget: HandshakeBudget;
  /** The connection was ended before its handshake was done. */
  readonly onRefused: (error: Error, remoteAddress: string) => void;
}

/** A connection on its way to TLS. */
interface Arrival {
  readonly socket: Socket;
  /** Whom it is from; a load balancer's own until its header has come. */
  address: string;
  client: ProxiedClient | undefined;
  /** Below TLS, where a certificate is asked for. */
  counted: HandshakeSocket | undefined;
}

/** Whose TLS it is, for the events of a TLS server, which know only the TLS socket. */
const arrivals = new AsyncLocalStorage<Arrival>();

/**
 * Stands before the TLS of a listener. A connection is counted, gives its PROXY header where one is expected, and says in its first message which
 * host it wants; only then TLS is begun, which costs much more memory. To be called before anything else listens to the server's events.
 *
 * A TLS server starts TLS when its event `connection` comes, which may be emitted for it (Node's documentation of the event).
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
    // A reset before TLS is done is nobody's but the peer's affair.
    socket.on('error', () => destroyConnection(socket));
    stateKeepAlive(socket, 'accepted');
    receive(socket, options, (arrival, name, bytes) => {
      const isNamed = name !== undefined && namedHosts?.names.has(name) === true;
      begin(arrival, bytes, isNamed ? named : own, options);
    });
  });
  const onDone = (secure: TLSSocket): void => {
    const arrival = arrivals.getStore();
    if (arrival === undefined || !unauthenticated.handshakeDone(arrival.socket, secure)) destroyConnection(secure);
    else describe(secure, arrival);
  };
  const onFailed = (error: NodeJS.ErrnoException, secure: TLSSocket): void => {
    const address = arrivals.getStore()?.address ?? peerAddress(secure);
    // A client that leaves by itself was not refused: load balancers' probes do so all day.
    if (error.code !== 'ECONNRESET') onRefused(error, address);
    destroyConnection(secure);
  };
  server.prependListener('secureConnection', onDone);
  server.on('tlsClientError', onFailed);
  namedHosts?.server.on('secureConnection', (secure) => server.emit('secureConnection', secure));
  namedHosts?.server.on('tlsClientError', onFailed);
}

/** Reads what comes before TLS, and tells when it is whole, with the bytes of TLS that were read. */
function receive(
  socket: Socket,
  { unauthenticated, proxies, onRefused }: BeforeTlsOptions,
  whole: (arrival: Arrival, name: string | undefined, bytes: Buffer) => void,
): void {
  const arrival: Arrival = { socket, address: peerAddress(socket), client: undefined, counted: undefined };
  const from = socket.remoteAddress ?? '';
  // Before it is counted, so that it takes nobody's place.
  if (proxies?.has(arrival.address) === false) {
    destroyConnection(socket);
    const detail = 'Only the load balancers of proxyProtocolFrom may connect here.';
    onRefused(new CulvertError('unauthorized', detail), arrival.address);
    return;
  }
  if (!unauthenticated.admit(socket, proxies === undefined ? from : undefined)) return;
  const refuse = (error: CulvertError): void => {
    socket.off('data', onData);
    destroyConnection(socket);
    onRefused(error, arrival.address);
  };
  let awaitsHeader = proxies !== undefined;
  let held = new ReceivedBytes();
  let atLeast = 1;
  /** False when there is more to come, or nothing. */
  const readHeader = (): boolean => {
    const reading = readProxyHeader(held.bytes);
    if ('problem' in reading) refuse(new CulvertError('protocol_error', reading.problem));
    else if ('atLeast' in reading) atLeast = reading.atLeast;
    else {
      awaitsHeader = false;
      atLeast = 1;
      const rest = held.bytes.subarray(reading.length);
      held = new ReceivedBytes();
      held.push(rest);
      arrival.client = reading.client;
      if (reading.client !== undefined) arrival.address = peerAddress({ remoteAddress: reading.client.address });
      return unauthenticated.readdress(socket, arrival.address);
    }
    return false;
  };
  const readHello = (): void => {
    const { bytes } = held;
    if (bytes.length < atLeast) return;
    const reading = readServerName(bytes);
    if ('atLeast' in reading) atLeast = reading.atLeast;
    else if ('tooLong' in reading) {
      refuse(new CulvertError('too_large', `A ClientHello of more than ${LIMITS.tlsHandshakeBytes} bytes.`));
    } else {
      socket.off('data', onData);
      socket.off('end', onEnd);
      socket.pause();
      whole(arrival, reading.name, bytes);
    }
  };
  const onEnd = (): void => destroyConnection(socket);
  const onData = (chunk: Buffer): void => {
    held.push(chunk);
    if (held.bytes.length < atLeast) return;
    if (awaitsHeader && !readHeader()) return;
    readHello();
  };
  socket.on('end', onEnd);
  socket.on('data', onData);
}

function begin(
  arrival: Arrival,
  bytes: Buffer,
  tls: { readonly asksForCertificate: boolean; readonly start: (socket: unknown) => void },
  { unauthenticated, budget, clock, onRefused }: BeforeTlsOptions,
): void {
  const { socket, address } = arrival;
  if (!tls.asksForCertificate) {
    if (!unauthenticated.handshakeBegun(socket)) return;
    socket.unshift(bytes);
    arrivals.run(arrival, () => tls.start(socket));
    return;
  }
  const group = addressGroup(address);
  // What many cost that began at once is known only when they go on.
  const mayGoOn = (): boolean => {
    if (budget.admits(group, clock.now())) return true;
    const detail = 'The handshakes with certificates of this address have used up their processor time.';
    onRefused(new CulvertError('too_many_requests', detail), address);
    destroyConnection(arrival.counted ?? socket);
    return false;
  };
  if (!unauthenticated.has(socket) || !mayGoOn()) return;
  budget.begun(group, clock.now());
  unauthenticated.handshakeBegun(socket);
  const counted = new HandshakeSocket(socket, bytes, {
    maxBytes: LIMITS.tlsHandshakeBytes,
    mayGoOn,
    onTooLong() {
      onRefused(new CulvertError('too_large', `A handshake of more than ${LIMITS.tlsHandshakeBytes} bytes.`), address);
      // TLS above is not at work: this was read before it is told.
      destroyConnection(counted);
    },
    onWork: (ms) => budget.charge(group, ms, clock.now()),
  });
  arrival.counted = counted;
  arrivals.run(arrival, () => tls.start(counted));
}

/** Has a TLS socket say of its connection what the TCP socket below would, or the load balancer has. */
function describe(secure: TLSSocket, { socket, client, counted }: Arrival): void {
  counted?.open();
  if (counted !== undefined) {
    // As TLS on the TCP socket itself has it.
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
