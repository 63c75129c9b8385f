import { X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';

/** The certificate a client presented in TLS. TLS has verified that the client holds the key; `authenticate` verifies everything else. */
export interface ClientCertificate {
  readonly certificate: X509Certificate;
  /** The chain: of the other certificates sent, the apparent issuer, the issuer of that one, and so on. */
  readonly sent: readonly X509Certificate[];
  /** Undefined also when there are several: a device has one name. */
  readonly commonName: string | undefined;
  /** Thumbprints of the certificate, upper-case hexadecimal. */
  readonly sha1: string;
  readonly sha256: string;
}

/** Certificates sent along of which account is taken: a device's chain has one or two between it and its authority. */
const MAX_SENT = 8;

/** The certificate a client has shown; undefined when it was not asked, or showed none that can be read. */
export function clientCertificate(socket: TLSSocket): ClientCertificate | undefined {
  try {
    // Not `getPeerX509Certificate`, which leaks the memory of all that was sent along (Node 22 and 24).
    const peer = socket.getPeerCertificate(true);
    // Node gives an empty object when there is none.
    if (!peer?.raw) return undefined;
    const certificate = new X509Certificate(peer.raw);
    const { CN: commonName } = peer.subject;
    return {
      certificate,
      sent: issuers(peer).map(({ raw }) => new X509Certificate(raw)),
      // Several of a kind come as an array.
      commonName: typeof commonName === 'string' ? commonName : undefined,
      sha1: thumbprint(certificate.fingerprint),
      sha256: thumbprint(certificate.fingerprint256),
    };
  } catch {
    // OpenSSL takes certificates whose parts make no sense, and tells when they are asked for.
    return undefined;
  }
}

/** A fingerprint as Node writes it, without its colons: the way thumbprints are registered. */
export function thumbprint(fingerprint: string): string {
  return fingerprint.replaceAll(':', '').toUpperCase();
}

function issuers(peer: DetailedPeerCertificate): DetailedPeerCertificate[] {
  const found: DetailedPeerCertificate[] = [];
  // One that issued itself is its own issuer.
  for (let last = peer; found.length < MAX_SENT; ) {
    const issuer = last.issuerCertificate;
    if (issuer === undefined || issuer === last) break;
    found.push(issuer);
    last = issuer;
  }
  return found;
}
