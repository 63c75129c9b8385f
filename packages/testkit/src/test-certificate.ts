// This import must be the first, because the dependency injection inside @peculiar/x509 needs it while it loads.
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

/** The certificate and key of a TLS server in a test, and the authority that its clients trust, as PEM. */
export interface TestCertificate {
  /** The server's certificate. */
  readonly cert: string;
  /** The server's private key, PKCS#8. */
  readonly key: string;
  /** The certificate of the authority that signed the server's certificate. */
  readonly ca: string;
}

export interface TestCertificateOptions {
  /** DNS names; default `localhost`. */
  readonly names?: readonly string[];
  /** IP addresses; default 127.0.0.1 and ::1. */
  readonly addresses?: readonly string[];
  /** Default: one day from now. */
  readonly notAfter?: Date;
  /** Default: one hour ago. */
  readonly notBefore?: Date;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const HOUR_MS = 3_600_000;

/** Creates an authority and a server certificate that the authority signs. */
export async function testCertificate(options: TestCertificateOptions = {}): Promise<TestCertificate> {
  const { names = ['localhost'], addresses = ['127.0.0.1', '::1'] } = options;
  const now = Date.now();
  const validity = {
    notBefore: options.notBefore ?? new Date(now - HOUR_MS),
    notAfter: options.notAfter ?? new Date(now + 24 * HOUR_MS),
  };
  const authority = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const server = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const ca = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: 'CN=Culvert test authority',
      keys: authority,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(now - 48 * HOUR_MS),
      notAfter: new Date(now + 48 * HOUR_MS),
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(authority.publicKey),
      ],
    },
    webcrypto,
  );
  const alternatives: x509.JsonGeneralNames = [
    ...names.map((value) => ({ type: 'dns' as const, value })),
    ...addresses.map((value) => ({ type: 'ip' as const, value })),
  ];
  const cert = await x509.X509CertificateGenerator.create(
    {
      subject: 'CN=Culvert test server',
      issuer: ca.subject,
      publicKey: server.publicKey,
      signingKey: authority.privateKey,
      signingAlgorithm: ALGORITHM,
      ...validity,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension(alternatives),
        await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey),
      ],
    },
    webcrypto,
  );
  const key = x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', server.privateKey), 'PRIVATE KEY');
  return { cert: cert.toString('pem'), key, ca: ca.toString('pem') };
}
