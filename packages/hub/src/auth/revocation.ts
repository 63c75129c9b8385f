import type { Identity } from '@culvert/protocol';
import type { AuthorityRecord, IdentityRecord, PolicyRecord } from '../registry/registry.ts';
import { matchesThumbprint } from './certificate-proof.ts';
import { keyDigest } from './key-digest.ts';
import type { Principal, Proof } from './principal.ts';

/** A change in the registry. */
export interface CredentialChange {
  /** The current record of the device or module that the principal is or acts for; undefined: it was deleted. */
  readonly identity?: IdentityRecord | undefined;
  readonly policy?: PolicyRecord;
  /** All authorities that are registered now. */
  readonly authorities?: readonly AuthorityRecord[];
}

/**
 * Whether a principal's credential is still valid after a change. Pass `identity` only for the device or module for which the principal has a channel or
 * stream, or for the device of that module: its deletion or disabling ends the channel of a policy too.
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
