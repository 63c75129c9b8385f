import { CulvertError, SSH_HOST_KEY_LIMITS, sshHostKeysIn } from '@culvert/protocol';
import { z } from 'zod';
import type { IdentityRecord } from '../../registry/registry.ts';

/** SSH host keys in a request. An empty list removes the registered keys, after which the device registers its own when it attaches again. */
export const sshHostKeysInput = z.array(z.string()).max(SSH_HOST_KEY_LIMITS.keys).nullish();

/**
 * The host keys to store: those in the request, or the present ones if the field is absent.
 * @throws CulvertError `argument_invalid` if an entry is not a public SSH key, or there are too many
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

/** The `sshHostKeys` field of a document, a Culvert extension. Absent when there are no keys, as in the documents of Azure IoT Hub. */
export function sshHostKeysView({ sshHostKeys }: IdentityRecord): { readonly sshHostKeys?: readonly string[] } {
  return sshHostKeys.length === 0 ? {} : { sshHostKeys };
}
