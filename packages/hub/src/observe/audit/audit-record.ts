import { createHash } from 'node:crypto';
import { AUDIT_TYPES, type AuditRecord, type AuditValue } from '@culvert/protocol';
import type { AuditEntry } from './audit-entry.ts';
import { canonicalJson } from './canonical-json.ts';

/** A position in the hash chain: the sequence number and hash of the last record. */
export interface ChainHead {
  readonly seq: number;
  readonly hash: string;
}

/** The position before the first record. */
export const CHAIN_START: ChainHead = { seq: 0, hash: '0'.repeat(64) };

/** Makes the record that follows `head` in the chain. The returned line is the record's canonical form with its hash, without a newline. */
export function sealRecord(entry: AuditEntry, at: number, head: ChainHead): { line: string; head: ChainHead } {
  const open = { ...entry, seq: head.seq + 1, at: new Date(at).toISOString(), prev: head.hash };
  const hash = digest(open);
  return { line: canonicalJson({ ...open, hash }), head: { seq: open.seq, hash } };
}

/**
 * Parses a line and checks it against its own hash.
 * @returns the record, or a clause that describes the problem, with the record's sequence number and hash if they can be read
 */
export function readRecord(line: string): { record: AuditRecord } | { problem: string; head?: ChainHead } {
  try {
    const value: unknown = JSON.parse(line);
    if (!isRecord(value)) return { problem: 'is not a record' };
    const { hash, ...open } = value;
    const head = { seq: value.seq, hash };
    // Rejects white space, duplicate keys and other notations of numbers, which JSON.parse accepts.
    if (canonicalJson(value) !== line) return { problem: 'was changed: it is not in the canonical form', head };
    if (digest(open) !== hash) return { problem: 'was changed: its hash is not that of its content', head };
    return { record: value };
  } catch {
    // The line is not JSON, or is nested too deeply.
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
