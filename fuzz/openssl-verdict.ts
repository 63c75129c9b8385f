import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createSecureContext, createServer, type SecureContext } from 'node:tls';
import { type TestCertificate, testCertificate } from '@culvert/testkit';

/** `X509_CERT_AUX` of OpenSSL: trusted for client authentication. With it a certificate is an anchor though it is no root. */
const TRUSTED_FOR_CLIENTS = Buffer.from('300c300a06082b06010505070302', 'hex');

let pair: Promise<TestCertificate> | undefined;

/** Whether OpenSSL, asked as a TLS server asks it, verifies a client's chain against these authorities alone. */
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
 * A root as it is; any other in OpenSSL's own form, in which trust is said of a certificate whatever stands above it (openssl-x509(1),
 * `-addtrust`). Of such a one OpenSSL then looks at neither dates nor uses.
 */
function trusted(pem: string): string {
  const { raw, issuer, subject } = new X509Certificate(pem);
  if (issuer === subject) return pem;
  const bytes = Buffer.concat([raw, TRUSTED_FOR_CLIENTS]);
  return `-----BEGIN TRUSTED CERTIFICATE-----\n${bytes.toString('base64')}\n-----END TRUSTED CERTIFICATE-----\n`;
}
