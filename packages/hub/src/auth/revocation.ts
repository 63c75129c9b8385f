import type { DeviceRecord, PolicyRecord } from '../registry/registry.ts';
import { keyDigest } from './key-digest.ts';
import type { Principal } from './principal.ts';

/** What changed in the registry. `device: undefined` means: deleted. */
export interface CredentialChange {
  /** The device the principal is or speaks for, as it is now. */
  readonly device?: DeviceRecord | undefined;
  readonly policy?: PolicyRecord;
}

/**
 * Whether what a principal was let in for still holds after a change. Ask with `device` only for the device on whose channel or
 * stream the principal stands as the device: that one being deleted or disabled ends a policy's channel too.
 */
export function principalStillHolds(principal: Principal, change: CredentialChange): boolean {
  const { owner } = principal.key;
  if ('device' in change && !survives(principal, change.device)) return false;
  if (change.policy !== undefined && owner.kind === 'policy' && owner.policy === change.policy.name) {
    return holdsKey(change.policy, principal);
  }
  return true;
}

function survives(principal: Principal, device: DeviceRecord | undefined): boolean {
  if (device === undefined) return false;
  const { owner } = principal.key;
  if (owner.kind === 'policy') return device.status === 'enabled';
  if (device.deviceId !== owner.deviceId) return true;
  return device.status === 'enabled' && device.generationId === owner.generationId && holdsKey(device, principal);
}

function holdsKey(keys: { readonly primaryKey: string; readonly secondaryKey: string }, principal: Principal): boolean {
  const { keyDigest: digest } = principal.key;
  return keyDigest(keys.primaryKey) === digest || keyDigest(keys.secondaryKey) === digest;
}
