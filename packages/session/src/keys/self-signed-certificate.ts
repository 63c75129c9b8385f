import { createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto';
import { bitString, der, objectIdentifier, sequence } from './der.ts';

/** The subject and issuer: the same for every end, because the peer judges the key, and a name in the clear would tell others who connects. */
const COMMON_NAME = 'culvert';

/** Bytes of the serial number; RFC 5280 §4.1.2.2 allows 20. */
const SERIAL_BYTES = 16;

const BASIC_CONSTRAINTS = '2.5.29.19';
const KEY_USAGE = '2.5.29.15';

/** Signature algorithms by curve; RFC 8410 §3 and RFC 5758 §3.2 require that there are no parameters. */
const SIGNATURES: Readonly<Record<string, { readonly oid: string; readonly digest: string | null }>> = {
  ed25519: { oid: '1.3.101.112', digest: null },
  prime256v1: { oid: '1.2.840.10045.4.3.2', digest: 'sha256' },
  secp384r1: { oid: '1.2.840.10045.4.3.3', digest: 'sha384' },
};

/** The curve of an Ed25519 or EC key, by OpenSSL's name; the key's type for other keys. */
export function curveOf(key: KeyObject): string {
  return key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType ?? 'unknown';
}

/** Whether {@link selfSignedCertificate} can issue a certificate for the key: Ed25519, P-256 or P-384. */
export function canSelfSign(key: KeyObject): boolean {
  return Object.hasOwn(SIGNATURES, curveOf(key));
}

/**
 * Issues a certificate for a key, signed by the key itself: a wrapper that TLS requires around the key. It is valid from 1970 to 9999, so that it also works
 * on a machine whose clock is wrong. (RFC 5280 §4.1.2.5 has that last date for "no end".)
 * @param key a private key for which {@link canSelfSign} is true
 * @returns PEM
 */
export function selfSignedCertificate(key: KeyObject): string {
  const signature = SIGNATURES[curveOf(key)];
  if (signature === undefined) throw new RangeError(`A key of type ${curveOf(key)} cannot sign a certificate here.`);
  const algorithm = sequence(objectIdentifier(signature.oid));
  const body = certificateBody(createPublicKey(key), algorithm);
  const certificate = sequence(body, algorithm, bitString(sign(signature.digest, body, key)));
  const lines = certificate.toString('base64').replace(/.{64}(?=.)/g, '$&\n');
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

/** `TBSCertificate` (RFC 5280 §4.1) of version 3. */
function certificateBody(publicKey: KeyObject, algorithm: Buffer): Buffer {
  const version = der(0xa0, integer(Buffer.from([2])));
  const validity = sequence(der(0x17, Buffer.from('700101000000Z')), der(0x18, Buffer.from('99991231235959Z')));
  const extensions = sequence(
    // No authority: nothing that this key signs is a certificate.
    criticalExtension(BASIC_CONSTRAINTS, sequence()),
    // `digitalSignature`, the first of the bits.
    criticalExtension(KEY_USAGE, bitString(Buffer.from([0x80]), 7)),
  );
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return sequence(version, serialNumber(), algorithm, name(), validity, name(), spki, der(0xa3, extensions));
}

/** Positive, and its first byte is not zero, as the shortest encoding of a number requires. */
function serialNumber(): Buffer {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return integer(bytes);
}

function integer(bytes: Uint8Array): Buffer {
  return der(0x02, bytes);
}

/** `Name` with a common name alone. */
function name(): Buffer {
  const commonName = sequence(objectIdentifier('2.5.4.3'), der(0x0c, Buffer.from(COMMON_NAME)));
  return sequence(der(0x31, commonName));
}

function criticalExtension(oid: string, value: Buffer): Buffer {
  return sequence(objectIdentifier(oid), der(0x01, Buffer.from([0xff])), der(0x04, value));
}
