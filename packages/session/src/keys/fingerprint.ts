import { createHash, type KeyObject } from 'node:crypto';
import { CulvertError, printable } from '@culvert/protocol';

/** SHA-256 of a public key (its SubjectPublicKeyInfo, DER), in OpenSSH's form: `SHA256:` and 43 characters of base64 without padding. */
export type Fingerprint = `SHA256:${string}`;

/** The fingerprint of a public key, or of the public half of a private key. It is not secret. */
export function fingerprintOf(publicKey: KeyObject): Fingerprint {
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return `SHA256:${createHash('sha256').update(spki).digest('base64').replace(/=+$/, '')}`;
}

/**
 * Checks a fingerprint and returns it. Each key has exactly one accepted form, so fingerprints can be compared as text.
 * @throws CulvertError `argument_invalid`
 */
export function parseFingerprint(text: string): Fingerprint {
  const base64 = /^SHA256:([A-Za-z0-9+/]{43})$/.exec(text)?.[1];
  // The last character has two unused bits: with any other value in them, a second text would stand for the same key.
  const isCanonical = base64 !== undefined && Buffer.from(base64, 'base64').toString('base64') === `${base64}=`;
  if (isCanonical) return `SHA256:${base64}`;
  throw new CulvertError(
    'argument_invalid',
    `'${printable(text, 64)}' is not a fingerprint: it must be SHA256: and 43 characters of base64, as \`culvert trust\` prints it.`,
  );
}
