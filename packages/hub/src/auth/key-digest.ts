import { createHash } from 'node:crypto';

/** SHA-256 of a key's bytes, hexadecimal: names a key without being one. @param key base64 */
export function keyDigest(key: string): string {
  return createHash('sha256').update(Buffer.from(key, 'base64')).digest('hex');
}
