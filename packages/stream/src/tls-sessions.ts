import type { Duplex } from 'node:stream';
import type { SecureContext, TLSSocket } from 'node:tls';

/** Maximum servers whose sessions are stored per TLS context; the oldest is removed. A program uses one hub and a few gateways. A session has 2 to 4 KB. */
const MAX_SERVERS = 16;

/** Identifies a server for which a session may be reused. */
interface Server {
  readonly host: string;
  readonly port: number;
  /** The name that the server's certificate was checked for; empty if it was checked for the host. */
  readonly servername: string;
}

/** A session and the server certificate (DER) verified when it started. A resumed handshake does not transmit the certificate, and Node does not keep it. */
interface StoredSession {
  readonly session: Buffer;
  readonly certificate: Buffer | undefined;
}

/**
 * TLS sessions by TLS context and server. A resumed handshake does not verify the certificate again, so a session is reused only with the same
 * context, that is, with the same authorities and the same client certificate.
 */
const sessionsByContext = new WeakMap<object, Map<string, StoredSession>>();

/** The verified certificate (DER) of each connection's server: received on this connection, or on the one whose session it resumed. */
const verifiedCertificates = new WeakMap<Duplex, Buffer>();

/** The key for connections without a TLS context of their own, which trust Node's default authorities. */
const DEFAULT_CONTEXT = {};

/**
 * Returns the session to resume with a server, if there is one. Resuming saves the transmission and verification of certificates and a signature on
 * both sides. If the server no longer has the session, a full handshake follows. The server sets a session's lifetime: a hub, five minutes.
 */
export function knownSession(context: SecureContext | undefined, server: Server): Buffer | undefined {
  return sessionsByContext.get(context ?? DEFAULT_CONTEXT)?.get(keyOf(server))?.session;
}

/** Returns the verified certificate (DER) of a connection's server; undefined while none has been verified. */
export function certificateOfServer(connection: Duplex): Buffer | undefined {
  return verifiedCertificates.get(connection);
}

/** Stores the sessions that the server issues on this connection, with its certificate. Deletes the server's session if the connection fails. */
export function rememberSessions(socket: TLSSocket, context: SecureContext | undefined, server: Server): void {
  const key = keyOf(server);
  const resumed = sessionsByContext.get(context ?? DEFAULT_CONTEXT)?.get(key)?.certificate;
  socket.once('secureConnect', () => {
    if (!socket.authorized) return;
    const certificate = socket.isSessionReused() ? resumed : socket.getPeerCertificate().raw;
    if (certificate !== undefined) verifiedCertificates.set(socket, certificate);
  });
  socket.on('session', (session) => {
    // If the certificate is rejected, the connection ends, but a session ticket may arrive before that.
    if (!socket.authorized) return;
    const sessions = sessionsByContext.get(context ?? DEFAULT_CONTEXT) ?? new Map<string, StoredSession>();
    sessionsByContext.set(context ?? DEFAULT_CONTEXT, sessions);
    sessions.delete(key);
    sessions.set(key, { session, certificate: verifiedCertificates.get(socket) });
    const [oldest] = sessions.keys();
    if (sessions.size > MAX_SERVERS && oldest !== undefined) sessions.delete(oldest);
  });
  socket.once('error', () => sessionsByContext.get(context ?? DEFAULT_CONTEXT)?.delete(key));
}

function keyOf({ host, port, servername }: Server): string {
  return `${servername} ${host} ${port}`;
}
