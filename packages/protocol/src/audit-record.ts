/** All types of audit records: those for events of the hub, and those about the audit log itself. */
export const AUDIT_TYPES = [
  'stream-established',
  'streams-open',
  'stream-ended',
  'stream-close-requested',
  'session-reported',
  'registry-changed',
  'policy-rotated',
  'authority-changed',
  'log-opened',
  'log-closed',
  'records-lost',
] as const;

export type AuditType = (typeof AUDIT_TYPES)[number];

/** A JSON value. */
export type AuditValue =
  | string
  | number
  | boolean
  | null
  | readonly AuditValue[]
  | { readonly [key: string]: AuditValue | undefined };

/**
 * One line of the audit log. `hash` is the SHA-256 of the canonical form (RFC 8785) of all other fields, and `prev` is the `hash` of the
 * previous record. Therefore a changed, removed or moved record can be detected.
 */
export interface AuditRecord {
  /** Sequence number, from 1. */
  readonly seq: number;
  /** Time of the event, RFC 3339 in UTC with milliseconds. */
  readonly at: string;
  readonly type: AuditType;
  readonly prev: string;
  readonly hash: string;
  readonly [field: string]: AuditValue | undefined;
}

/** A query of the audit log. */
export interface AuditFilter {
  /** RFC 3339, inclusive. */
  readonly since?: string;
  /** RFC 3339, exclusive. */
  readonly until?: string;
  readonly device?: string;
  readonly type?: AuditType;
}
