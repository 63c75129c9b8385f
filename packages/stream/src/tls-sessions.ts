import type { Duplex } from 'node:stream';
import type { SecureContext, TLSSocket } from 'node:tls';

/** Maximum servers remembered per trust, the newest: a program connects to one hub and a few gateways. A session is 2 to 4 KB. */
const MAX_SERVERS = 16;

/** Identifies a server for which a session may be reused. */
interface Server {
  readonly host: string;
  readonly port: number;
  /** The name its certificate was checked for; empty when it was checked for the host. */
  readonly servername: string;
}

/** A session, and the certificate (DER) that was verified when it began: a resumed handshake does not show it again, and Node does not keep it. */
interface Known {
  readonly session: Buffer;
  readonly certificate: Buffer | undefined;
}

/**
 * TLS sessions by server and by the trust that verified them: resuming does not verify a certificate again, so a session is only
 * reused with the same authorities and the same client identity.
 */
const byTrust = new WeakMap<object, Map<string, Known>>();

/** The verified certificate of each connection's server, DER: shown on this connection, or on the one whose session it resumed. */
const proofs = new WeakMap<Duplex, Buffer>();

/** Stands for the authorities that Node trusts by default. */
const DEFAULT_TRUST = {};

/**
 * The session to resume with a server, if one is known: resuming saves the certificates, their verification, and a signature on both sides.
 * If the server has forgotten it, a full handshake follows. Sessions live as long as the server says: five minutes for a hub.
 */
export function knownSession(trust: SecureContext | undefined, server: Server): Buffer | undefined {
  return byTrust.get(trust ?? DEFAULT_TRUST)?.get(keyOf(server))?.session;
}

/** The certificate, DER, that was verified of a connection's other end; undefined before that. */
export function certificateOfServer(connection: Duplex): Buffer | undefined {
  return proofs.get(connection);
}

/** Keeps the sessions that the server hands out on this connection, and the certificate it showed; forgets them when it fails. */
export function rememberSessions(socket: TLSSocket, trust: SecureContext | undefined, server: Server): void {
  const key = keyOf(server);
  const resumed = byTrust.get(trust ?? DEFAULT_TRUST)?.get(key)?.certificate;
  socket.once('secureConnect', () => {
    if (!socket.authorized) return;
    const certificate = socket.isSessionReused() ? resumed : socket.getPeerCertificate().raw;
    if (certificate !== undefined) proofs.set(socket, certificate);
  });
  socket.on('session', (session) => {
    // A rejected certificate ends the connection, but its session ticket may arrive before that.
    if (!socket.authorized) return;
    const sessions = byTrust.get(trust ?? DEFAULT_TRUST) ?? new Map<string, Known>();
    byTrust.set(trust ?? DEFAULT_TRUST, sessions);
    sessions.delete(key);
    sessions.set(key, { session, certificate: proofs.get(socket) });
    const [oldest] = sessions.keys();
    if (sessions.size > MAX_SERVERS && oldest !== undefined) sessions.delete(oldest);
  });
  socket.once('error', () => byTrust.get(trust ?? DEFAULT_TRUST)?.delete(key));
}

function keyOf({ host, port, servername }: Server): string {
  return `${servername} ${host} ${port}`;
}
