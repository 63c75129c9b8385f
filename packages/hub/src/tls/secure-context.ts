import { constants } from 'node:crypto';
import type { SecureContextOptions, TlsOptions } from 'node:tls';

/** Certificate and key of a server, PEM. */
export type ServerPair = Pick<SecureContextOptions, 'cert' | 'key'>;

/**
 * The options of a listener's TLS context, also for `setSecureContext` when the certificate changes: it resets every option that is not given.
 * @param asksForCertificate whether clients are asked for one
 */
export function secureContext({ cert, key }: ServerPair, asksForCertificate: boolean): SecureContextOptions {
  const common = { cert, key, minVersion: 'TLSv1.2' as const };
  if (!asksForCertificate) return common;
  return {
    ...common,
    // No authorities, not even the system's: `authenticate` decides which are trusted. It also keeps authority names out of
    // the certificate request; clients that filter by them would not send a certificate known by its thumbprint.
    ca: [],
    // No session resumption, so that only certificates presented on this connection count (without tickets there is only a
    // cache, and there is none), and no renegotiation that could change the certificate.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  };
}

/** Options of a TLS server that requests a client certificate, accepts connections without one, and leaves verification to `authenticate`. */
export function certificateRequest(
  asksForCertificate: boolean,
): Pick<TlsOptions, 'requestCert' | 'rejectUnauthorized'> {
  return asksForCertificate ? { requestCert: true, rejectUnauthorized: false } : {};
}
