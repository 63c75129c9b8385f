// First: the dependency injection inside x509 refuses to load without it.
import 'reflect-metadata';
import { webcrypto, X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';

/** An authority that issues certificates to devices. */
export interface TestAuthority {
  /** PEM. */
  readonly certificate: string;
  readonly subject: string;
  readonly signingKey: webcrypto.CryptoKey;
}

/** What a device shows, as PEM, and by what the hub would know it. */
export interface DeviceCertificate {
  readonly cert: string;
  /** PKCS#8. */
  readonly key: string;
  /** SHA-1 and SHA-256 of the certificate, upper-case hexadecimal. */
  readonly sha1: string;
  readonly sha256: string;
}

/** When a certificate counts; default from an hour ago to a day from now. */
export interface Validity {
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const HOUR_MS = 3_600_000;

/** A fresh authority for devices. */
export async function testAuthority(name = 'Plant 7', when: Validity = {}): Promise<TestAuthority> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${name}`,
      keys,
      signingAlgorithm: ALGORITHM,
      ...validity(when),
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      ],
    },
    webcrypto,
  );
  return { certificate: certificate.toString('pem'), subject: certificate.subject, signingKey: keys.privateKey };
}

/** A device's certificate for client authentication: signed by the authority, else by itself. */
export async function deviceCertificate(
  commonName: string,
  { authority, ...when }: Validity & { readonly authority?: TestAuthority } = {},
): Promise<DeviceCertificate> {
  const keys = await newKeys();
  const subject = `CN=${commonName}`;
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject,
      issuer: authority?.subject ?? subject,
      publicKey: keys.publicKey,
      signingKey: authority?.signingKey ?? keys.privateKey,
      signingAlgorithm: ALGORITHM,
      ...validity(when),
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
      ],
    },
    webcrypto,
  );
  const cert = certificate.toString('pem');
  const key = x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
  const { fingerprint, fingerprint256 } = new X509Certificate(cert);
  return { cert, key, sha1: fingerprint.replaceAll(':', ''), sha256: fingerprint256.replaceAll(':', '') };
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

function validity({ notBefore, notAfter }: Validity): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: notBefore ?? new Date(now - HOUR_MS), notAfter: notAfter ?? new Date(now + 24 * HOUR_MS) };
}
