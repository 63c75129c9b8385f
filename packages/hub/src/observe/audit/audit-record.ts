import { createHash } from 'node:crypto';
import { AUDIT_TYPES, type AuditRecord, type AuditValue } from '@culvert/protocol';
import type { AuditEntry } from './audit-entry.ts';
import { canonicalJson } from './canonical-json.ts';

/** A place in the chain: the last record's number and hash. */
export interface ChainHead {
  readonly seq: number;
  readonly hash: string;
}

/** What the first record follows. */
export const CHAIN_START: ChainHead = { seq: 0, hash: '0'.repeat(64) };

/** Gives an entry its place behind `head`. The line is the record's canonical form, hash included, without its newline. */
export function sealRecord(entry: AuditEntry, at: number, head: ChainHead): { line: string; head: ChainHead } {
  const open = { ...entry, seq: head.seq + 1, at: new Date(at).toISOString(), prev: head.hash };
  const hash = digest(open);
  return { line: canonicalJson({ ...open, hash }), head: { seq: open.seq, hash } };
}

/**
 * Reads a line and holds it against its own hash.
 * @returns the record, or in a clause what is wrong with it, with its place if it still says one
 */
export function readRecord(line: string): { record: AuditRecord } | { problem: string; head?: ChainHead } {
  try {
    const value: unknown = JSON.parse(line);
    if (!isRecord(value)) return { problem: 'is not a record' };
    const { hash, ...open } = value;
    const head = { seq: value.seq, hash };
    // Also finds what JSON.parse forgives: white space, a key given twice, another way to write a number.
    if (canonicalJson(value) !== line) return { problem: 'was changed: it is not in the canonical form', head };
    if (digest(open) !== hash) return { problem: 'was changed: its hash is not that of its content', head };
    return { record: value };
  } catch {
    // No JSON, or nested too deep.
    return { problem: 'is not JSON' };
  }
}

function isRecord(value: unknown): value is AuditRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { seq, at, type, prev, hash } = value as Record<string, unknown>;
  return (
    Number.isSafeInteger(seq) &&
    [at, prev, hash].every((field) => typeof field === 'string') &&
    AUDIT_TYPES.some((known) => known === type)
  );
}

function digest(open: { readonly [field: string]: AuditValue | undefined }): string {
  return createHash('sha256').update(canonicalJson(open)).digest('hex');
}
