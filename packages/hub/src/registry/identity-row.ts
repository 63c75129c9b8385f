import type { SQLInputValue, SQLOutputValue } from 'node:sqlite';
import { AUTHENTICATION_TYPES } from '@culvert/protocol';
import type { Authentication, IdentityRecord } from './registry.ts';

/** A row of a database table. */
export type Row = Record<string, SQLOutputValue>;

/** The columns that devices and modules have in common, in the order of the tables. */
export const IDENTITY_COLUMNS = [
  'generation_id',
  'etag',
  'created_at',
  'updated_at',
  'authentication',
  'primary_key',
  'secondary_key',
  'primary_thumbprint',
  'secondary_thumbprint',
  'ssh_host_keys',
] as const;

/** The values of {@link IDENTITY_COLUMNS} for a record. */
export function identityValues(record: IdentityRecord): Record<(typeof IDENTITY_COLUMNS)[number], SQLInputValue> {
  const { authentication } = record;
  const keys = authentication.type === 'sas' ? authentication : { primaryKey: '', secondaryKey: '' };
  const thumbprints =
    authentication.type === 'selfSigned' ? authentication : { primaryThumbprint: '', secondaryThumbprint: '' };
  return {
    generation_id: record.generationId,
    etag: record.etag,
    created_at: record.createdAt,
    updated_at: record.updatedAt,
    authentication: authentication.type,
    primary_key: keys.primaryKey,
    secondary_key: keys.secondaryKey,
    primary_thumbprint: thumbprints.primaryThumbprint,
    secondary_thumbprint: thumbprints.secondaryThumbprint,
    ssh_host_keys: record.sshHostKeys.join('\n'),
  };
}

/** Reads {@link IDENTITY_COLUMNS} from a row. */
export function identityFields(
  row: Row,
): Pick<IdentityRecord, 'generationId' | 'etag' | 'createdAt' | 'updatedAt' | 'authentication' | 'sshHostKeys'> {
  return {
    generationId: String(row['generation_id']),
    etag: String(row['etag']),
    createdAt: Number(row['created_at']),
    updatedAt: Number(row['updated_at']),
    authentication: authenticationOf(row),
    sshHostKeys: String(row['ssh_host_keys']).split('\n').filter(Boolean),
  };
}

function authenticationOf(row: Row): Authentication {
  const type = AUTHENTICATION_TYPES.find((known) => known === row['authentication']);
  switch (type) {
    case 'sas':
      return { type, primaryKey: String(row['primary_key']), secondaryKey: String(row['secondary_key']) };
    case 'selfSigned':
      return {
        type,
        primaryThumbprint: String(row['primary_thumbprint']),
        secondaryThumbprint: String(row['secondary_thumbprint']),
      };
    case 'certificateAuthority':
      return { type };
    default:
      return { type: 'none' };
  }
}
