import { CulvertError, SSH_HOST_KEY_LIMITS, sshHostKeysIn } from '@culvert/protocol';
import { z } from 'zod';
import type { IdentityRecord } from '../../registry/registry.ts';

/** Host keys as callers send them: an empty list forgets those there are, so that the next agent registers its own. */
export const sshHostKeysInput = z.array(z.string()).max(SSH_HOST_KEY_LIMITS.keys).nullish();

/**
 * The host keys a caller asks for; what is not given stays.
 * @throws CulvertError `argument_invalid` for what is no public SSH key, and for too many
 */
export function sshHostKeysFrom(
  input: readonly string[] | null | undefined,
  present: readonly string[],
): readonly string[] {
  if (input === undefined || input === null) return present;
  const keys = sshHostKeysIn(input);
  if (keys.length !== new Set(input).size)
    throw new CulvertError('argument_invalid', 'sshHostKeys: each must be a public SSH key, `TYPE BASE64`.');
  return keys;
}

/** The field of a document, a Culvert extension: absent where there are none, as in the documents of Azure IoT Hub. */
export function sshHostKeysView({ sshHostKeys }: IdentityRecord): { readonly sshHostKeys?: readonly string[] } {
  return sshHostKeys.length === 0 ? {} : { sshHostKeys };
}
