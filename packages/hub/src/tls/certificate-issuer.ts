// @peculiar/x509 needs the metadata API before it is loaded. Together they take 0.2 s, so this file is loaded only to issue.
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
/** An authority's life: longer than the hardware it is for. */
const AUTHORITY_DAYS = 3_650;
/** Days a server's certificate lives from now on; a fresh one is made long before. */
const SERVER_DAYS = 397;
/**
 * Certificates begin with the epoch: a board that has no clock of its own starts there, or at its last shutdown, and is to reach the hub before
 * NTP has told it the time. Apple's limit of 825 days binds certificates that begin after July 2019; the others' bind public authorities.
 */
const BEGIN = new Date(0);

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** A certificate and its private key, both PEM. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

/**
 * Makes a self-signed authority that may sign for these names only, and for no further authority.
 * @param begin when it begins to count; for tests, of what earlier versions made
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
 * Makes the authority's certificate again to begin with the epoch: the same name, key, constraints and end, so that whoever trusts the old one
 * trusts what it signs as before.
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

/** Makes a server's certificate for the names, signed by the authority. Whether the authority's constraints allow them is the caller's care. */
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

/** 128 random bits; the top bit cleared, as a serial number is positive, and the next one set, so that it has its length. */
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
