import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { type Fingerprint, fingerprintOf } from './fingerprint.ts';

/** The other end of a link, which has proved that it has the private key of this certificate. */
export interface LinkPeer {
  /** Of its key; undefined when it has none, which only a service side may do. */
  readonly fingerprint: Fingerprint | undefined;
  /** Its own certificate, without the chain; undefined as above. */
  readonly certificate: X509Certificate | undefined;
  /**
   * Why OpenSSL found no valid path from the certificate to an authority of this link's context, as OpenSSL's name of the error (`CERT_HAS_EXPIRED`);
   * undefined when there is one. Always set when the context has no authorities.
   */
  readonly pathFault: string | undefined;
}

/** Reads what a TLS connection knows about its peer after the handshake. */
export function linkPeer(tls: TLSSocket): LinkPeer {
  const certificate = tls.getPeerX509Certificate();
  if (certificate === undefined) return { fingerprint: undefined, certificate, pathFault: 'no certificate' };
  const fingerprint = fingerprintOf(certificate.publicKey);
  return { fingerprint, certificate, pathFault: tls.authorized ? undefined : faultName(tls.authorizationError) };
}

/** Node sets an error's code, although the type says that it is an error. */
function faultName(error: unknown): string {
  return typeof error === 'string' ? error : error instanceof Error ? error.message : 'not verified';
}
