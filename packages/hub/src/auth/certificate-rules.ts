import type { X509Certificate } from 'node:crypto';
import { keyUsageBits, readCertificate } from './certificate-encoding.ts';

/** RSA keys with fewer bits are refused, as by OpenSSL at its default security level. */
const MIN_RSA_BITS = 2048;

/** The accepted elliptic curves: those of 256 bits and more. */
const CURVES = ['prime256v1', 'secp384r1', 'secp521r1', 'brainpoolP256r1', 'brainpoolP384r1', 'brainpoolP512r1'];

/** `id-kp-clientAuth` (RFC 5280 §4.2.1.12). */
const CLIENT_AUTHENTICATION = '1.3.6.1.5.5.7.3.2';

// The object identifiers below have the form that `readCertificate` returns.

/** The accepted signature algorithms: ECDSA, RSA (PKCS #1) and EdDSA, with SHA-256 or better. */
const SIGNATURE_ALGORITHMS = [
  ...['2a8648ce3d040302', '2a8648ce3d040303', '2a8648ce3d040304'],
  ...['2a864886f70d01010b', '2a864886f70d01010c', '2a864886f70d01010d'],
  ...['2b6570', '2b6571'],
];

const BASIC_CONSTRAINTS = '551d13';
const KEY_USAGE = '551d0f';
const EXTENDED_KEY_USAGE = '551d25';
const NAME_CONSTRAINTS = '551d1e';

/**
 * Extensions that may be critical: those evaluated here, and those that do not affect whether a client may be accepted (alternative names, certificate
 * policies).
 */
const UNDERSTOOD = [BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, '551d11', '551d12', '551d20'];

/** Bits of `keyUsage` that allow a TLS client to prove that it has the private key: `digitalSignature`, `keyAgreement`. */
const CLIENT_KEY_USAGE = (1 << 0) | (1 << 4);

/** Checks that a certificate is valid at `now`. Returns the fault, as the end of a sentence, or undefined. */
export function lifeFault(certificate: X509Certificate, now: number): string | undefined {
  return orUnreadable(() => {
    const { notBefore, notAfter } = readCertificate(certificate.raw);
    if (now < notBefore) return 'is not valid yet';
    return now > notAfter ? 'has expired' : undefined;
  });
}

/**
 * When a certificate expires, in milliseconds since the epoch.
 * @throws RangeError when it is malformed
 */
export function certificateExpiry(certificate: X509Certificate): number {
  return readCertificate(certificate.raw).notAfter;
}

/** Checks that a certificate permits client authentication. Returns the fault, or undefined. */
export function clientUseFault({ keyUsage: usages }: X509Certificate): string | undefined {
  // Node's name for the extended key usage is `keyUsage`.
  if (usages?.includes(CLIENT_AUTHENTICATION)) return undefined;
  return 'is not made for client authentication (extended key usage)';
}

/**
 * The fault that makes a certificate invalid for any client, independent of its issuer; undefined if none. Validity period and extended key usage are checked
 * elsewhere.
 */
export function clientFault(certificate: X509Certificate): string | undefined {
  return orUnreadable(() => {
    const { extensions, signatureAlgorithm, basicConstraints } = readCertificate(certificate.raw);
    // The certificate of an authority must not be used for a device: the holder of its key can issue certificates.
    if (certificate.ca || basicConstraints?.isAuthority)
      return 'is that of an authority, not of a device (basic constraints)';
    const usage = extensions.get(KEY_USAGE)?.value;
    if (usage !== undefined && (keyUsageBits(usage) & CLIENT_KEY_USAGE) === 0)
      return 'has a key that is not made for signing (key usage)';
    if (!SIGNATURE_ALGORITHMS.includes(signatureAlgorithm)) return 'is signed by an algorithm that is not accepted';
    return keyFault(certificate) ?? extensionFault(certificate);
  });
}

/** The fault that makes a certificate invalid between a client's certificate and a registered authority; undefined if none. Validity is checked elsewhere. */
export function intermediateFault(certificate: X509Certificate): string | undefined {
  return orUnreadable(() => {
    if (!SIGNATURE_ALGORITHMS.includes(readCertificate(certificate.raw).signatureAlgorithm))
      return 'is signed by an algorithm that is not accepted';
    return authorityFault(certificate);
  });
}

/** The fault that makes a certificate invalid for a registered authority; undefined if none. Its validity period and its own signature are not checked here. */
export function authorityFault(certificate: X509Certificate): string | undefined {
  return orUnreadable(() => {
    if (!readCertificate(certificate.raw).basicConstraints?.isAuthority || !certificate.ca)
      return 'is not that of an authority (basic constraints)';
    const { keyUsage: usages } = certificate;
    if (usages !== undefined && !usages.includes(CLIENT_AUTHENTICATION))
      return 'is that of an authority for other uses than client authentication (extended key usage)';
    return keyFault(certificate) ?? extensionFault(certificate);
  });
}

/**
 * Maximum number of authorities between this one and a client's certificate (RFC 5280 §4.2.1.9).
 * @throws RangeError when the certificate is malformed
 */
export function authoritiesBelow(certificate: X509Certificate): number {
  return readCertificate(certificate.raw).basicConstraints?.pathLength ?? Number.POSITIVE_INFINITY;
}

function extensionFault(certificate: X509Certificate): string | undefined {
  const { extensions } = readCertificate(certificate.raw);
  // Name constraints are not evaluated here and must not be ignored. §4.2.1.10 requires them to be critical, but some authorities do not mark them so.
  if (extensions.has(NAME_CONSTRAINTS)) return 'has name constraints, which are not supported';
  const unknown = [...extensions].some(([oid, { critical }]) => critical && !UNDERSTOOD.includes(oid));
  return unknown ? 'has a critical extension that is not supported' : undefined;
}

function keyFault({ publicKey }: X509Certificate): string | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = publicKey;
  if (type === 'ed25519' || type === 'ed448') return undefined;
  if (type === 'rsa' && (details?.modulusLength ?? 0) >= MIN_RSA_BITS) return undefined;
  if (type === 'ec' && CURVES.includes(details?.namedCurve ?? '')) return undefined;
  return `has a key that is too weak or of a kind that is not accepted (${type ?? 'unknown'})`;
}

/** Returns the fault that `check` finds. OpenSSL accepts certificates with malformed parts, and throws only when such a part is read. */
function orUnreadable(check: () => string | undefined): string | undefined {
  try {
    return check();
  } catch {
    return 'has parts that cannot be read';
  }
}
