import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as tls from 'node:tls';
import { CulvertError } from '@culvert/protocol';
import { assertUsable, type ClientCertificate } from './client-certificate.ts';

/** Maximum cached TLS contexts; a process uses one or two. Creating one parses every root certificate, 15 to 30 ms, too slow for each connection. */
const MAX_CONTEXTS = 4;

const contexts = new Map<string, tls.SecureContext>();

/**
 * Returns a TLS context that trusts Node's default authorities and those in `ca`.
 * @param ca one or more PEM certificates
 * @throws CulvertError `config_invalid` if `ca` contains no certificate or an unreadable one
 */
export function trustedContext(ca: string): tls.SecureContext {
  const known = contexts.get(ca);
  if (known !== undefined) return known;
  const context = tls.createSecureContext({ ca: [...defaultAuthorities(), ...certificatesIn(ca)] });
  const [oldest] = contexts.keys();
  if (contexts.size >= MAX_CONTEXTS && oldest !== undefined) contexts.delete(oldest);
  contexts.set(ca, context);
  return context;
}

/**
 * As {@link trustedContext}, for a client with its own certificate. The context is not cached: only control channels use it, they are opened
 * rarely, and a private key should not stay in memory after its use.
 * @param ca one or more PEM certificates to trust besides the default authorities; undefined to trust only the default authorities
 * @throws CulvertError `config_invalid` if the certificate, its key or `ca` cannot be used
 */
export function certifiedContext(certificate: ClientCertificate, ca: string | undefined): tls.SecureContext {
  assertUsable(certificate);
  const authorities = ca === undefined ? {} : { ca: [...defaultAuthorities(), ...certificatesIn(ca)] };
  try {
    return tls.createSecureContext({ ...certificate, ...authorities });
  } catch (error) {
    // For example, the key has too few bits.
    const why = error instanceof Error ? error.message : String(error);
    throw new CulvertError('config_invalid', `TLS does not accept the client certificate: ${why}.`, { cause: error });
  }
}

/** Parses each certificate here, because OpenSSL silently skips an unreadable one, and the connection would later fail with an unclear error. */
function certificatesIn(pem: string): string[] {
  const found = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (found === null) throw new CulvertError('config_invalid', 'The CA certificate is not in PEM form.');
  try {
    return found.map((certificate) => new X509Certificate(certificate).toString());
  } catch (error) {
    throw new CulvertError('config_invalid', 'The CA certificate could not be read.', { cause: error });
  }
}

/** Node's default authorities, needed because a `ca` option replaces them. Node 20 cannot list those of `NODE_EXTRA_CA_CERTS`, so that file is read here. */
function defaultAuthorities(): readonly string[] {
  if (typeof tls.getCACertificates === 'function') return tls.getCACertificates('default');
  const file = process.env['NODE_EXTRA_CA_CERTS'];
  return file === undefined || file === '' ? tls.rootCertificates : [...tls.rootCertificates, ...readExtra(file)];
}

function readExtra(file: string): string[] {
  try {
    return [readFileSync(file, 'utf8')];
  } catch {
    // At its start Node has printed a warning about this file and ignored it.
    return [];
  }
}
