// This import must be the first, because the dependency injection inside @peculiar/x509 needs it while it loads.
import 'reflect-metadata';
import { webcrypto, X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';

/** A certificate authority that issues certificates to devices. */
export interface TestAuthority {
  /** The authority's certificate, PEM. */
  readonly certificate: string;
  readonly subject: string;
  readonly signingKey: webcrypto.CryptoKey;
  /** The certificates that its devices must send, PEM: its own and those of the authorities above it, without the root's; empty for a root. */
  readonly chain: string;
}

/** A device's certificate and key, PEM, and its thumbprints. */
export interface DeviceCertificate {
  /** The device's certificate, followed by the intermediate certificates of its authority. */
  readonly cert: string;
  /** The private key, PKCS#8. */
  readonly key: string;
  /** SHA-1 and SHA-256 of the certificate, upper-case hexadecimal. */
  readonly sha1: string;
  readonly sha256: string;
}

/** The validity period of a certificate; by default from one hour ago to one day from now. */
export interface Validity {
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** Options that make a certificate differ from the default one. */
export interface CertificateOptions extends Validity {
  /** Whether the basic constraints mark it as an authority; default true for an authority and false for a device. */
  readonly ca?: boolean;
  /** The path length constraint: how many intermediate authorities may be below it. */
  readonly pathLength?: number;
  /** Object identifiers of the extended key usage; if empty, the certificate has no such extension. */
  readonly usages?: readonly string[];
  readonly keyUsages?: x509.KeyUsageFlags;
  /** Hash algorithm of the signature; default SHA-256. */
  readonly hash?: 'SHA-1' | 'SHA-256';
  /** Key pair of the certificate; default a new ECDSA key on P-256. */
  readonly keys?: webcrypto.CryptoKeyPair;
  /** Extensions to add to the certificate. */
  readonly extensions?: readonly x509.Extension[];
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const HOUR_MS = 3_600_000;

/** `id-kp-clientAuth`, `id-kp-serverAuth` (RFC 5280 §4.2.1.12). */
export const CLIENT_AUTHENTICATION = x509.ExtendedKeyUsage.clientAuth;
export const SERVER_AUTHENTICATION = x509.ExtendedKeyUsage.serverAuth;

/** Creates an authority for devices: a root, or an intermediate authority whose certificate `issuer` signs. */
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

/** Creates a device's certificate for client authentication, signed by `authority`, or self-signed without one. */
export async function deviceCertificate(
  commonName: string,
  { authority, ...options }: CertificateOptions & { readonly authority?: TestAuthority } = {},
): Promise<DeviceCertificate> {
  return deviceCertificateOf([{ CN: [commonName] }], { ...options, ...(authority && { authority }) });
}

/** As {@link deviceCertificate}, with any subject, for example one without a common name. */
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
