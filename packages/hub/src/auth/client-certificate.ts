import { X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';

/** The certificate that a client presented in TLS. TLS has verified that the client has the private key; `authenticate` verifies everything else. */
export interface ClientCertificate {
  readonly certificate: X509Certificate;
  /** The rest of the chain, from the other certificates that the client sent: the apparent issuer, the issuer of that one, and so on. */
  readonly sent: readonly X509Certificate[];
  /** Undefined also when the certificate has several common names: a device has one name. */
  readonly commonName: string | undefined;
  /** Thumbprints of the certificate, upper-case hexadecimal. */
  readonly sha1: string;
  readonly sha256: string;
}

/** Maximum issuer certificates of the client that are read: a device's chain has one or two certificates between its own and its authority's. */
const MAX_SENT = 8;

/** The certificate that a client presented; undefined when none was requested, none was presented, or it cannot be parsed. */
export function clientCertificate(socket: TLSSocket): ClientCertificate | undefined {
  try {
    // Not `getPeerX509Certificate`, which leaks the memory of all certificates that the client sent (Node 22 and 24).
    const peer = socket.getPeerCertificate(true);
    // Node returns an empty object when there is no certificate.
    if (!peer?.raw) return undefined;
    const certificate = new X509Certificate(peer.raw);
    const { CN: commonName } = peer.subject;
    return {
      certificate,
      sent: issuers(peer).map(({ raw }) => new X509Certificate(raw)),
      // Several common names are an array.
      commonName: typeof commonName === 'string' ? commonName : undefined,
      sha1: thumbprint(certificate.fingerprint),
      sha256: thumbprint(certificate.fingerprint256),
    };
  } catch {
    // OpenSSL accepts certificates with malformed parts, and throws only when such a part is read.
    return undefined;
  }
}

/** Converts a fingerprint from Node to the form of registered thumbprints: without colons, in upper case. */
export function thumbprint(fingerprint: string): string {
  return fingerprint.replaceAll(':', '').toUpperCase();
}

function issuers(peer: DetailedPeerCertificate): DetailedPeerCertificate[] {
  const found: DetailedPeerCertificate[] = [];
  // In Node's chain a self-signed certificate is its own issuer.
  for (let last = peer; found.length < MAX_SENT; ) {
    const issuer = last.issuerCertificate;
    if (issuer === undefined || issuer === last) break;
    found.push(issuer);
    last = issuer;
  }
  return found;
}
