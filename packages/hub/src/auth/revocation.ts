import type { Identity } from '@culvert/protocol';
import type { AuthorityRecord, IdentityRecord, PolicyRecord } from '../registry/registry.ts';
import { matchesThumbprint } from './certificate-proof.ts';
import { keyDigest } from './key-digest.ts';
import type { Principal, Proof } from './principal.ts';

/** What changed in the registry. */
export interface CredentialChange {
  /** The device or module the principal is or speaks for, as it is now; undefined: deleted. */
  readonly identity?: IdentityRecord | undefined;
  readonly policy?: PolicyRecord;
  /** All registered authorities there are now. */
  readonly authorities?: readonly AuthorityRecord[];
}

/**
 * Whether what a principal was let in for still holds after a change. Ask with `identity` only for the one on whose channel or stream the
 * principal stands as the device, or for the device of that module: that one being deleted or disabled ends a policy's channel too.
 */
export function principalStillHolds(principal: Principal, change: CredentialChange): boolean {
  const { proof } = principal;
  if ('identity' in change && !survives(proof, change.identity)) return false;
  if (change.authorities !== undefined && proof.kind === 'authority') {
    return change.authorities.some(({ thumbprint }) => proof.authorities.includes(thumbprint));
  }
  const { policy } = change;
  if (policy === undefined || proof.kind !== 'key' || proof.owner.kind !== 'policy') return true;
  return proof.owner.policy !== policy.name || holdsKey(policy, proof.keyDigest);
}

function survives(proof: Proof, record: IdentityRecord | undefined): boolean {
  if (record === undefined) return false;
  const { owner } = proof;
  const enabled = record.status === 'enabled';
  if (owner.kind === 'policy') return enabled && record.authentication.type !== 'none';
  if (proof.kind === 'key' && proof.module !== undefined && isRecordOf(record, proof.module))
    return record.generationId === proof.module.generationId && record.authentication.type === 'sas';
  if (!isRecordOf(record, owner)) return true;
  return enabled && record.generationId === owner.generationId && proves(proof, record.authentication);
}

function isRecordOf(record: IdentityRecord, { deviceId, moduleId }: Identity): boolean {
  return record.deviceId === deviceId && record.moduleId === moduleId;
}

function proves(proof: Proof, authentication: IdentityRecord['authentication']): boolean {
  switch (proof.kind) {
    case 'key':
      return authentication.type === 'sas' && holdsKey(authentication, proof.keyDigest);
    case 'thumbprint':
      return authentication.type === 'selfSigned' && matchesThumbprint(authentication, proof);
    case 'authority':
      return authentication.type === 'certificateAuthority';
  }
}

function holdsKey(keys: { readonly primaryKey: string; readonly secondaryKey: string }, digest: string): boolean {
  return keyDigest(keys.primaryKey) === digest || keyDigest(keys.secondaryKey) === digest;
}
