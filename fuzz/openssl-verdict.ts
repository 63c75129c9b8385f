import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createSecureContext, createServer, type SecureContext } from 'node:tls';
import { type TestCertificate, testCertificate } from '@culvert/testkit';

/** OpenSSL's `X509_CERT_AUX`: trusted for client authentication. It makes a certificate a trust anchor even if it is not a root. */
const TRUSTED_FOR_CLIENTS = Buffer.from('300c300a06082b06010505070302', 'hex');

let pair: Promise<TestCertificate> | undefined;

/** Whether OpenSSL, in a TLS server that trusts only these authorities, accepts a client's certificate chain. */
export async function openSslTakes(
  client: { cert: string; key: string },
  authorities: readonly string[],
): Promise<boolean> {
  pair ??= testCertificate();
  const { cert, key } = await pair;
  let secureContext: SecureContext;
  try {
    secureContext = createSecureContext(client);
  } catch {
    // OpenSSL before 3.5 rejects SHA-1 signatures by default.
    return false;
  }
  const ca = authorities.map(trusted);
  const server = createServer({ cert, key, ca, requestCert: true, rejectUnauthorized: false }).listen(0, '127.0.0.1');
  try {
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const accepted = once(server, 'secureConnection');
    const socket = connect({ secureContext, host: '127.0.0.1', port, rejectUnauthorized: false });
    const [peer] = await accepted;
    socket.destroy();
    peer.destroy();
    return peer.authorized;
  } finally {
    server.close();
  }
}

/**
 * Returns a root unchanged, and any other certificate in OpenSSL's own format, which marks it as trusted regardless of its issuers
 * (openssl-x509(1), `-addtrust`). OpenSSL checks neither the dates nor the uses of such a certificate.
 */
function trusted(pem: string): string {
  const { raw, issuer, subject } = new X509Certificate(pem);
  if (issuer === subject) return pem;
  const bytes = Buffer.concat([raw, TRUSTED_FOR_CLIENTS]);
  return `-----BEGIN TRUSTED CERTIFICATE-----\n${bytes.toString('base64')}\n-----END TRUSTED CERTIFICATE-----\n`;
}
