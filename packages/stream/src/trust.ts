import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as tls from 'node:tls';
import { CulvertError } from '@culvert/protocol';
import { assertUsable, type ClientCertificate } from './client-certificate.ts';

/** Maximum cached contexts: creating one parses every root certificate, 15 to 30 ms, too slow for each connection. A process uses one or two. */
const MAX_CONTEXTS = 4;

const contexts = new Map<string, tls.SecureContext>();

/**
 * A TLS context that trusts Node's default authorities and those in `ca`.
 * @param ca one or more PEM certificates
 * @throws CulvertError `config_invalid` when it is not that
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
 * As {@link trustedContext}, for a client with its own certificate. Not cached: only control channels use it, which are opened rarely,
 * and a private key should not outlive its use.
 * @param ca one or more PEM certificates beside the default authorities; undefined: these alone
 * @throws CulvertError `config_invalid` when the certificate, its key or `ca` cannot be used
 */
export function certifiedContext(certificate: ClientCertificate, ca: string | undefined): tls.SecureContext {
  assertUsable(certificate);
  const authorities = ca === undefined ? {} : { ca: [...defaultAuthorities(), ...certificatesIn(ca)] };
  try {
    return tls.createSecureContext({ ...certificate, ...authorities });
  } catch (error) {
    // Such as a key of too few bits.
    const why = error instanceof Error ? error.message : String(error);
    throw new CulvertError('config_invalid', `TLS does not take the client certificate: ${why}.`, { cause: error });
  }
}

/** OpenSSL passes over what it cannot read, and the connection would fail later with a riddle: so each is read here. */
function certificatesIn(pem: string): string[] {
  const found = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (found === null) throw new CulvertError('config_invalid', 'The CA certificate is not in PEM form.');
  try {
    return found.map((certificate) => new X509Certificate(certificate).toString());
  } catch (error) {
    throw new CulvertError('config_invalid', 'The CA certificate could not be read.', { cause: error });
  }
}

/** A `ca` option replaces the defaults, so they are named beside it; Node 20 cannot list those of `NODE_EXTRA_CA_CERTS`. */
function defaultAuthorities(): readonly string[] {
  if (typeof tls.getCACertificates === 'function') return tls.getCACertificates('default');
  const file = process.env['NODE_EXTRA_CA_CERTS'];
  return file === undefined || file === '' ? tls.rootCertificates : [...tls.rootCertificates, ...readExtra(file)];
}

function readExtra(file: string): string[] {
  try {
    return [readFileSync(file, 'utf8')];
  } catch {
    // Node itself has warned at the start and goes on without it.
    return [];
  }
}
