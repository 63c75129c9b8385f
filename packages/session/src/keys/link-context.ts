import { constants } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { connect, createSecureContext, createServer, type Server, type TLSSocket } from 'node:tls';
import type { EndKey } from './end-key.ts';

/** The name of the protocol inside the link (ALPN, RFC 7301). */
export const LINK_PROTOCOL = 'culvert-session/1';

/** Called exactly once. */
export interface HandshakeEvents {
  readonly onDone: (tls: TLSSocket) => void;
  readonly onFailed: (error: Error) => void;
}

/** TLS settings of one end, for all its links. */
export interface LinkContext {
  readonly side: 'service' | 'device';
  /** Starts a handshake over a stream of bytes to the other end. Attaches one 'data' listener to it at once. */
  startHandshake(duplex: Duplex, events: HandshakeEvents): void;
}

/** The key and the authorities of one end. */
export interface LinkContextOptions<Key = EndKey> {
  /** The key of this end. */
  readonly key: Key;
  /** Certificates (PEM) of the authorities to which the other end's certificate is verified. Whether that matters is decided by who checks the peer. */
  readonly authorities?: readonly string[];
}

/** The service side, which is the TLS client. Without a key it presents none. */
export function serviceLinkContext({ key, authorities }: LinkContextOptions<EndKey | undefined>): LinkContext {
  const secureContext = createSecureContext(contextOptions(key, authorities));
  return {
    side: 'service',
    startHandshake(duplex, { onDone, onFailed }) {
      const tls = connect({
        socket: duplex,
        secureContext,
        ALPNProtocols: [LINK_PROTOCOL],
        // The peer is judged after the handshake, by its key or by the name of a device in its certificate; it has no host name.
        rejectUnauthorized: false,
        checkServerIdentity: () => undefined,
      });
      tls.once('error', onFailed);
      tls.once('secureConnect', () => {
        tls.off('error', onFailed);
        onDone(tls);
      });
    },
  };
}

/** The device's side, which is the TLS server. It asks for the service's certificate, and the handshake succeeds without one too. */
export function deviceLinkContext({ key, authorities }: LinkContextOptions): LinkContext {
  const options = {
    ...contextOptions(key, authorities),
    ALPNProtocols: [LINK_PROTOCOL],
    requestCert: true,
    rejectUnauthorized: false,
  };
  // Only a TLS server tells whether a client's certificate has a valid path, and its events do not tell on which stream. So each server has one handshake at
  // a time. One is kept for the next handshake: a server of its own for each link would cost each 25 KB and 1 ms.
  let idle: Server | undefined;
  return {
    side: 'device',
    startHandshake(duplex, { onDone, onFailed }) {
      const server = idle ?? createServer(options);
      idle = undefined;
      server.once('secureConnection', (tls) => {
        server.removeAllListeners('tlsClientError');
        idle = server;
        onDone(tls);
      });
      // A server whose handshake failed is not used again: its next event could still be about that one.
      server.once('tlsClientError', onFailed);
      server.emit('connection', duplex);
    },
  };
}

function contextOptions(key: EndKey | undefined, authorities: readonly string[] = []) {
  return {
    ...key?.credentials(),
    // An empty list: the authorities of the web, which Node would load by default, say nothing about devices.
    ca: [...authorities],
    // An authority need not be a root.
    allowPartialTrustChain: true,
    minVersion: 'TLSv1.3' as const,
    maxVersion: 'TLSv1.3' as const,
    // The first is the cheapest where the processor has instructions for AES; all of them are for TLS 1.3.
    ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
    // Each link proves both keys again. With a saved ticket a client without its key got in.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}
