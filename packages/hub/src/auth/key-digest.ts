import { createHash } from 'node:crypto';

/** SHA-256 of a key's bytes, hexadecimal: identifies a key without revealing it. @param key base64 */
export function keyDigest(key: string): string {
  return createHash('sha256').update(Buffer.from(key, 'base64')).digest('hex');
}
