import { constants } from 'node:crypto';
import type { SecureContextOptions, TlsOptions } from 'node:tls';

/** Certificate and key of a server, PEM. */
export type ServerPair = Pick<SecureContextOptions, 'cert' | 'key'>;

/**
 * What a door's TLS is made of, and made of again by `setSecureContext` when the certificate changes, which forgets whatever it is not told.
 * @param asksForCertificate whether clients are asked for one
 */
export function secureContext({ cert, key }: ServerPair, asksForCertificate: boolean): SecureContextOptions {
  const common = { cert, key, minVersion: 'TLSv1.2' as const };
  if (!asksForCertificate) return common;
  return {
    ...common,
    // Nobody, so not the system's roots either: who vouches for a device is found by `authenticate`. It also keeps authorities' names out of
    // the request; clients that go by them would not show a certificate that is known by its thumbprint.
    ca: [],
    // No session is taken up again, so that no certificate counts that was not shown on this connection (without tickets there is only a
    // cache, and there is none), and none is exchanged for another on it.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  };
}

/** Options of a TLS server that asks for a certificate, takes connections without, and leaves it to others to judge it. */
export function certificateRequest(
  asksForCertificate: boolean,
): Pick<TlsOptions, 'requestCert' | 'rejectUnauthorized'> {
  return asksForCertificate ? { requestCert: true, rejectUnauthorized: false } : {};
}
