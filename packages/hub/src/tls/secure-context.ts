import { constants } from 'node:crypto';
import type { SecureContextOptions, TlsOptions } from 'node:tls';

/** Certificate and key of a server, PEM. */
export type ServerPair = Pick<SecureContextOptions, 'cert' | 'key'>;

/**
 * The options of a listener's TLS context. `setSecureContext` needs all of them too when the certificate changes: it resets every option that is absent.
 * @param asksForCertificate whether a client certificate is requested
 */
export function secureContext({ cert, key }: ServerPair, asksForCertificate: boolean): SecureContextOptions {
  const common = { cert, key, minVersion: 'TLSv1.2' as const };
  if (!asksForCertificate) return common;
  return {
    ...common,
    // No authorities, not even those of the system: `authenticate` decides which are trusted. The empty list also keeps authority names
    // out of the certificate request; clients that filter by these names would not send a certificate registered by its thumbprint.
    ca: [],
    // No session resumption, so that only a certificate presented on this connection counts: without tickets a session could be resumed
    // only from a session cache, and there is none. No renegotiation, which could change the certificate.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  };
}

/** Options of a TLS server that requests a client certificate, accepts connections without one, and leaves verification to `authenticate`. */
export function certificateRequest(
  asksForCertificate: boolean,
): Pick<TlsOptions, 'requestCert' | 'rejectUnauthorized'> {
  return asksForCertificate ? { requestCert: true, rejectUnauthorized: false } : {};
}
