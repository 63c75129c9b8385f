import { randomBytes } from 'node:crypto';
import { type AuthenticationInput, type AuthenticationView, CulvertError } from '@culvert/protocol';
import { authenticationName } from './authentication-flags.ts';

/**
 * Keys after a rotation: a new primary one, and what was the primary as the secondary.
 * @param name the device's or module's
 * @throws CulvertError `usage` when it has none
 */
export function rotatedKey(name: string, { type, symmetricKey }: AuthenticationView): AuthenticationInput {
  if (type !== 'sas') {
    throw new CulvertError('usage', `${name} has no key to rotate: its authentication is ${authenticationName(type)}`);
  }
  // 32 bytes, as the hub makes them.
  const primaryKey = randomBytes(32).toString('base64');
  return { type, symmetricKey: { primaryKey, secondaryKey: symmetricKey.primaryKey } };
}
