import { createHmac, timingSafeEqual } from 'node:crypto';
import { audienceCovers, type SasToken, sasStringToSign } from '@culvert/protocol';

/** A primary and a secondary key, base64. */
export interface TwoKeys {
  readonly primaryKey: string;
  readonly secondaryKey: string;
}

/**
 * The one of the two keys that made the token's signature, or undefined. Both are always tried and compared in constant time, so
 * the time taken tells neither which one it was nor how much of a signature was right.
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
  // An empty key would be one that everybody knows.
  return token.signature.length === expected.length && timingSafeEqual(token.signature, expected) && bytes.length > 0;
}

/**
 * Whether the token's audience covers `host/path` for one of the hosts. The ids in a device's own audience may be escaped once
 * more (C# escapes the id, then the whole): harmless there, as the key alone says which device it is, but not for a policy's token.
 */
export function coversTarget(token: SasToken, hosts: readonly string[], path: string): boolean {
  const readings = token.policy === undefined ? [token.audience, ...unescaped(token.audience)] : [token.audience];
  return hosts.some((host) => readings.some((audience) => audienceCovers(audience, `${host}/${path}`)));
}

/**
 * Whether the token's audience is `host/path` for one of the hosts, no more and no less. Of several readings only the one with fewest escapes
 * counts, so that an audience names one identity alone.
 */
export function namesExactly(token: SasToken, hosts: readonly string[], path: string): boolean {
  const plain = unescaped(token.audience).at(-1) ?? token.audience;
  return hosts.some((host) => {
    const target = `${host}/${path}`;
    return audienceCovers(plain, target) && plain.replace(/\/$/, '').split('/').length === target.split('/').length;
  });
}

/** The text with its escapes taken off once, and twice, as far as they are escapes. */
function unescaped(text: string): string[] {
  const readings: string[] = [];
  try {
    const once = decodeURIComponent(text);
    readings.push(once);
    readings.push(decodeURIComponent(once));
  } catch {
    // A `%` that belongs to the id itself: there is no further reading.
  }
  return readings;
}
