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
  /** The intermediate certificates that its devices must send, PEM: itself and those above it without the root; empty for a root. */
  readonly chain: string;
}

/** A device's certificate and key, PEM, and its thumbprints. */
export interface DeviceCertificate {
  /** The certificate; below it those that lead to its authority. */
  readonly cert: string;
  /** PKCS#8. */
  readonly key: string;
  /** SHA-1 and SHA-256 of the certificate, upper-case hexadecimal. */
  readonly sha1: string;
  readonly sha256: string;
}

/** Validity period; default from an hour ago to a day from now. */
export interface Validity {
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** Deviations from a normal certificate. */
export interface CertificateOptions extends Validity {
  /** Whether basic constraints call it an authority; default that of what is made. */
  readonly ca?: boolean;
  /** How many authorities may stand below it. */
  readonly pathLength?: number;
  /** Object identifiers of its extended key usage; empty: it has none. */
  readonly usages?: readonly string[];
  readonly keyUsages?: x509.KeyUsageFlags;
  /** Of the signature; ECDSA on P-256 if not said otherwise. */
  readonly hash?: 'SHA-1' | 'SHA-256';
  /** Key of another kind than that. */
  readonly keys?: webcrypto.CryptoKeyPair;
  /** Added as they are. */
  readonly extensions?: readonly x509.Extension[];
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const HOUR_MS = 3_600_000;

/** `id-kp-clientAuth`, `id-kp-serverAuth` (RFC 5280 §4.2.1.12). */
export const CLIENT_AUTHENTICATION = x509.ExtendedKeyUsage.clientAuth;
export const SERVER_AUTHENTICATION = x509.ExtendedKeyUsage.serverAuth;

/** A fresh authority for devices: a root, or one that `issuer` vouches for. */
export async function testAuthority(
  name = 'Plant 7',
  { issuer, ...options }: CertificateOptions & { readonly issuer?: TestAuthority } = {},
): Promise<TestAuthority> {
  const { certificate, keys } = await issue(`CN=${name}`, issuer, {
    ca: true,
    keyUsages: x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
    ...options,
  });
  const pem = `${certificate.toString('pem')}\n`;
  return {
    certificate: pem,
    subject: certificate.subject,
    signingKey: keys.privateKey,
    chain: issuer === undefined ? '' : pem + issuer.chain,
  };
}

/** A device's certificate for client authentication: signed by the authority, else by itself. */
export async function deviceCertificate(
  commonName: string,
  { authority, ...options }: CertificateOptions & { readonly authority?: TestAuthority } = {},
): Promise<DeviceCertificate> {
  return deviceCertificateOf([{ CN: [commonName] }], { ...options, ...(authority && { authority }) });
}

/** {@link deviceCertificate} of any subject, such as one without a common name. */
export async function deviceCertificateOf(
  subject: x509.JsonName,
  { authority, ...options }: CertificateOptions & { readonly authority?: TestAuthority } = {},
): Promise<DeviceCertificate> {
  const { certificate, keys } = await issue(subject, authority, {
    ca: false,
    usages: [CLIENT_AUTHENTICATION],
    ...options,
  });
  const cert = certificate.toString('pem');
  const key = x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
  const { fingerprint, fingerprint256 } = new X509Certificate(cert);
  return {
    cert: `${cert}\n${authority?.chain ?? ''}`,
    key,
    sha1: fingerprint.replaceAll(':', ''),
    sha256: fingerprint256.replaceAll(':', ''),
  };
}

async function issue(subject: x509.JsonName | string, issuer: TestAuthority | undefined, options: CertificateOptions) {
  const { usages = [], hash = 'SHA-256', keyUsages, ca, pathLength } = options;
  const keys = options.keys ?? (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']));
  const name = new x509.Name(subject).toString();
  const signingKey = issuer?.signingKey ?? keys.privateKey;
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject: name,
      issuer: issuer?.subject ?? name,
      publicKey: keys.publicKey,
      signingKey,
      signingAlgorithm: { ...signingKey.algorithm, hash },
      ...validity(options),
      extensions: [
        new x509.BasicConstraintsExtension(ca === true, pathLength, true),
        ...(keyUsages === undefined ? [] : [new x509.KeyUsagesExtension(keyUsages, true)]),
        ...(usages.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension([...usages])]),
        ...(options.extensions ?? []),
      ],
    },
    webcrypto,
  );
  return { certificate, keys };
}

function validity({ notBefore, notAfter }: Validity): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: notBefore ?? new Date(now - HOUR_MS), notAfter: notAfter ?? new Date(now + 24 * HOUR_MS) };
}
