// @peculiar/x509 needs `reflect-metadata` to be loaded before it. Loading both takes 0.2 s, so this file is loaded only when a certificate is issued.
import 'reflect-metadata';
import { createPrivateKey, KeyObject, randomBytes, webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { HostName } from './host-name.ts';
import { NAME_CONSTRAINTS_OID, nameConstraints } from './name-constraints.ts';

cryptoProvider.set(webcrypto);

const DAY_MS = 86_400_000;
/** Days an authority is valid: longer than the life of the hardware that trusts it. */
const AUTHORITY_DAYS = 3_650;
/** Days a server certificate is valid from its creation; a new one is created long before it expires. */
const SERVER_DAYS = 397;
/**
 * Certificates are valid from the epoch on: the time of a board without a clock of its own starts at the epoch, or at its last shutdown, and the board must
 * be able to reach the hub before NTP has set its time. Apple's limit of 825 days applies to certificates that become valid after July 2019; the limits of
 * other vendors apply to public authorities.
 */
const BEGIN = new Date(0);

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** A certificate and its private key, both PEM. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

/**
 * Creates a self-signed authority that may sign only for these names, and for no other authority.
 * @param begin the start of its validity; tests set it to create authorities like those of earlier versions
 */
export async function issueAuthority(names: readonly HostName[], now: number, begin: Date = BEGIN): Promise<Issued> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const name = `CN=Culvert private CA ${randomBytes(4).toString('hex')}`;
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: name,
    issuer: name,
    ...validity(now, AUTHORITY_DAYS),
    notBefore: begin,
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      new Extension(NAME_CONSTRAINTS_OID, true, nameConstraints(names)),
    ],
  });
  return issued(certificate, keys.privateKey);
}

/**
 * Reissues the authority's certificate so that it is valid from the epoch on. Name, key, constraints and expiry stay the same, so that clients that trust
 * the old certificate still trust the certificates that the authority signs.
 */
export async function reissueAuthority(authority: Issued): Promise<string> {
  const before = new X509Certificate(authority.cert);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: before.subject,
    issuer: before.subject,
    notBefore: BEGIN,
    notAfter: before.notAfter,
    signingAlgorithm: ALGORITHM,
    publicKey: before.publicKey,
    signingKey: createPrivateKey(authority.key).toCryptoKey(ALGORITHM, false, ['sign']),
    extensions: before.extensions,
  });
  return `${certificate.toString('pem')}\n`;
}

/** Creates a server certificate for the names, signed by the authority. The caller must ensure that the authority's constraints allow the names. */
export async function issueServerCertificate(
  authority: Issued,
  names: readonly HostName[],
  now: number,
): Promise<Issued> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const signer = new X509Certificate(authority.cert);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: 'CN=Culvert hub',
    issuer: signer.subject,
    ...validity(now, SERVER_DAYS),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: createPrivateKey(authority.key).toCryptoKey(ALGORITHM, false, ['sign']),
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(names.map(({ kind, text }) => ({ type: kind, value: text }))),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(signer.publicKey),
    ],
  });
  return issued(certificate, keys.privateKey);
}

/** 128 random bits. The top bit is cleared, since a serial number is positive; the next bit is set, so that the length is always the same. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

function validity(now: number, days: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: BEGIN, notAfter: new Date(now + days * DAY_MS) };
}

function issued(certificate: X509Certificate, key: webcrypto.CryptoKey): Issued {
  return {
    cert: `${certificate.toString('pem')}\n`,
    key: KeyObject.from(key).export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}
