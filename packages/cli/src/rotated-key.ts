import { randomBytes } from 'node:crypto';
import { type AuthenticationInput, type AuthenticationView, CulvertError } from '@culvert/protocol';
import { authenticationName } from './authentication-flags.ts';

/**
 * The keys after a rotation: a new primary key, and the old primary key as the secondary one.
 * @param name the name of the device or module
 * @throws CulvertError `usage` when it has no key
 */
export function rotatedKey(name: string, { type, symmetricKey }: AuthenticationView): AuthenticationInput {
  if (type !== 'sas') {
    throw new CulvertError('usage', `${name} has no key to rotate: its authentication is ${authenticationName(type)}`);
  }
  // 32 bytes, as the hub makes them.
  const primaryKey = randomBytes(32).toString('base64');
  return { type, symmetricKey: { primaryKey, secondaryKey: symmetricKey.primaryKey } };
}
