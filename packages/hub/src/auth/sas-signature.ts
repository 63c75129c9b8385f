import { createHmac, timingSafeEqual } from 'node:crypto';
import { audienceCovers, type SasToken, sasStringToSign } from '@culvert/protocol';

/** A primary and a secondary key, base64. */
export interface TwoKeys {
  readonly primaryKey: string;
  readonly secondaryKey: string;
}

/**
 * The key of the two that made the token's signature, or undefined. Both keys are always tried and compared in constant time, so the time taken reveals
 * neither which key matched nor how much of the signature was correct.
 */
export function signingKey(token: SasToken, keys: TwoKeys): string | undefined {
  const primary = signedBy(token, keys.primaryKey);
  const secondary = signedBy(token, keys.secondaryKey);
  if (primary) return keys.primaryKey;
  return secondary ? keys.secondaryKey : undefined;
}

function signedBy(token: SasToken, key: string): boolean {
  const bytes = Buffer.from(key, 'base64');
  const expected = createHmac('sha256', bytes).update(sasStringToSign(token)).digest();
  // An empty key is refused, because anyone could sign with it.
  return token.signature.length === expected.length && timingSafeEqual(token.signature, expected) && bytes.length > 0;
}

/**
 * Whether the token's audience covers `host/path` for one of the hosts. The ids in the audience of a device's token may be escaped twice (C# escapes the id,
 * then the whole audience). This is safe there, because the key alone determines the device; it would not be for the token of a policy.
 */
export function coversTarget(token: SasToken, hosts: readonly string[], path: string): boolean {
  const readings = token.policy === undefined ? [token.audience, ...unescaped(token.audience)] : [token.audience];
  return hosts.some((host) => readings.some((audience) => audienceCovers(audience, `${host}/${path}`)));
}

/**
 * Whether the token's audience is exactly `host/path` for one of the hosts. Of the audience's possible readings only the one with the fewest escapes is
 * compared, so that an audience names only one identity.
 */
export function namesExactly(token: SasToken, hosts: readonly string[], path: string): boolean {
  const plain = unescaped(token.audience).at(-1) ?? token.audience;
  return hosts.some((host) => {
    const target = `${host}/${path}`;
    return audienceCovers(plain, target) && plain.replace(/\/$/, '').split('/').length === target.split('/').length;
  });
}

/** The text with its escapes decoded once, and decoded twice; without the readings that cannot be decoded. */
function unescaped(text: string): string[] {
  const readings: string[] = [];
  try {
    const once = decodeURIComponent(text);
    readings.push(once);
    readings.push(decodeURIComponent(once));
  } catch {
    // A `%` is part of the id itself, so there is no further reading.
  }
  return readings;
}
