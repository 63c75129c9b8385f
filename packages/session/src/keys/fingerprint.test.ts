import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { fingerprintOf, parseFingerprint } from './fingerprint.ts';
import { newKey } from './links.fixture.ts';

describe('a fingerprint', () => {
  it('is SHA-256 of the SubjectPublicKeyInfo in base64 without padding, as openssl computes it', () => {
    const key = newKey();
    const { key: pem } = key.credentials();
    const spki = execFileSync('openssl', ['pkey', '-pubout', '-outform', 'DER'], { input: pem });
    const digest = execFileSync('openssl', ['dgst', '-sha256', '-binary'], { input: spki });
    expect(key.fingerprint).toBe(`SHA256:${digest.toString('base64').slice(0, 43)}`);
    expect(fingerprintOf(createPublicKey(createPrivateKey(pem)))).toBe(key.fingerprint);
  });

  it('is read again', () => {
    const { fingerprint } = newKey();
    expect(parseFingerprint(fingerprint)).toBe(fingerprint);
  });

  const digest = 'A'.repeat(43);
  it.each([
    '',
    digest,
    `sha256:${digest}`,
    `SHA256:${digest}=`,
    `SHA256:${digest.slice(1)}`,
    `SHA256:${digest}A`,
    ` SHA256:${digest}`,
    `SHA256:${digest}\n`,
    `SHA256:${digest.slice(1)}-`,
    // The same 32 bytes, in a form that no encoder writes.
    `SHA256:${digest.slice(1)}B`,
    `MD5:${digest}`,
  ])('is refused in any other form: %j', (text) => {
    expect(() => parseFingerprint(text)).toThrow(expect.objectContaining({ code: 'argument_invalid' }));
  });
});
