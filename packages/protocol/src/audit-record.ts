/** Every type of record that the audit record holds: what the hub's events tell, and what it tells of itself. */
export const AUDIT_TYPES = [
  'stream-established',
  'streams-open',
  'stream-ended',
  'stream-close-requested',
  'registry-changed',
  'policy-rotated',
  'authority-changed',
  'log-opened',
  'log-closed',
  'records-lost',
] as const;

export type AuditType = (typeof AUDIT_TYPES)[number];

/** What a record is made of: JSON. */
export type AuditValue =
  | string
  | number
  | boolean
  | null
  | readonly AuditValue[]
  | { readonly [key: string]: AuditValue | undefined };

/**
 * One line of the audit record. `hash` is the SHA-256 of the canonical form (RFC 8785) of all other fields, `prev` the `hash` of the
 * record before; so no record can be changed, taken out or moved without a trace.
 */
export interface AuditRecord {
  /** 1 for the first, then one more each. */
  readonly seq: number;
  /** When it was told, RFC 3339 in UTC with milliseconds. */
  readonly at: string;
  readonly type: AuditType;
  readonly prev: string;
  readonly hash: string;
  readonly [field: string]: AuditValue | undefined;
}

/** Which records of the audit to give. */
export interface AuditFilter {
  /** RFC 3339. */
  readonly since?: string;
  /** RFC 3339; the first record that is not given any more. */
  readonly until?: string;
  readonly device?: string;
  readonly type?: AuditType;
}
