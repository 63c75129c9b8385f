import { createHash } from 'node:crypto';
import { AUDIT_TYPES, type AuditRecord, type AuditValue } from '@culvert/protocol';
import type { AuditEntry } from './audit-entry.ts';
import { canonicalJson } from './canonical-json.ts';

/** A position in the chain: the last record's number and hash. */
export interface ChainHead {
  readonly seq: number;
  readonly hash: string;
}

/** The position before the first record. */
export const CHAIN_START: ChainHead = { seq: 0, hash: '0'.repeat(64) };

/** Appends an entry to the chain after `head`. The line is the record's canonical form, hash included, without a newline. */
export function sealRecord(entry: AuditEntry, at: number, head: ChainHead): { line: string; head: ChainHead } {
  const open = { ...entry, seq: head.seq + 1, at: new Date(at).toISOString(), prev: head.hash };
  const hash = digest(open);
  return { line: canonicalJson({ ...open, hash }), head: { seq: open.seq, hash } };
}

/**
 * Parses a line and checks it against its own hash.
 * @returns the record, or a clause that says what is wrong with it, with its position if it can be read
 */
export function readRecord(line: string): { record: AuditRecord } | { problem: string; head?: ChainHead } {
  try {
    const value: unknown = JSON.parse(line);
    if (!isRecord(value)) return { problem: 'is not a record' };
    const { hash, ...open } = value;
    const head = { seq: value.seq, hash };
    // Also rejects what JSON.parse accepts: white space, duplicate keys, another notation of a number.
    if (canonicalJson(value) !== line) return { problem: 'was changed: it is not in the canonical form', head };
    if (digest(open) !== hash) return { problem: 'was changed: its hash is not that of its content', head };
    return { record: value };
  } catch {
    // Not JSON, or nested too deeply.
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
