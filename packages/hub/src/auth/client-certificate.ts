import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';

/** What TLS showed of a client's certificate. The peer has proved that it holds the key; what else it proves is `authenticate`'s to say. */
export interface ClientCertificate {
  readonly commonName: string | undefined;
  /** Thumbprints of the certificate, upper-case hexadecimal. */
  readonly sha1: string;
  readonly sha256: string;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Object identifiers of its extended key usage; undefined when it has none. */
  readonly usages: readonly string[] | undefined;
  /** SHA-256 of the registered authority whose chain OpenSSL verified; undefined when there is none. */
  readonly authority: string | undefined;
}

/** Certificates in a chain that is walked: OpenSSL's own default depth is 100, no device has more than a few. */
const MAX_CHAIN = 16;

/** The certificate a client has shown; undefined when it was not asked, or showed none. */
export function clientCertificate(socket: TLSSocket): ClientCertificate | undefined {
  const certificate = socket.getPeerCertificate(true);
  // Node gives an empty object when there is none.
  if (!certificate?.fingerprint256) return undefined;
  const { CN: commonName } = certificate.subject;
  return {
    // A name given several times comes as an array.
    commonName: typeof commonName === 'string' ? commonName : undefined,
    sha1: hex(certificate.fingerprint),
    sha256: hex(certificate.fingerprint256),
    notBefore: Date.parse(certificate.valid_from),
    notAfter: Date.parse(certificate.valid_to),
    usages: certificate.ext_key_usage,
    authority: socket.authorized ? hex(root(certificate).fingerprint256) : undefined,
  };
}

/** The last certificate of the chain that was verified: the registered one. */
function root(certificate: DetailedPeerCertificate): DetailedPeerCertificate {
  let current = certificate;
  for (let depth = 0; depth < MAX_CHAIN; depth++) {
    const issuer = current.issuerCertificate;
    if (issuer === undefined || issuer === current) return current;
    current = issuer;
  }
  return current;
}

function hex(fingerprint: string): string {
  return fingerprint.replaceAll(':', '').toUpperCase();
}
