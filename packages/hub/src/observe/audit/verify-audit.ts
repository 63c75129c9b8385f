import type { KeyObject } from 'node:crypto';
import { CHAIN_START, type ChainHead, readRecord } from './audit-record.ts';
import { type Checkpoint, readCheckpoint } from './checkpoint.ts';
import { linesOf } from './lines.ts';

/** One thing that is wrong, and where. */
export interface AuditFinding {
  readonly file: string;
  /** From 1; undefined: the file as a whole. */
  readonly line: number | undefined;
  /** A sentence. */
  readonly problem: string;
}

/** What was checked, and what was found. */
export interface AuditVerdict {
  /** The first {@link MAX_FINDINGS}; empty when nothing was tampered with. */
  readonly findings: readonly AuditFinding[];
  readonly records: number;
  readonly lastSeq: number;
  /** Checkpoints that were verified and compared. */
  readonly checkpoints: number;
  /** The last record covered by a checkpoint; 0 when none is. Records after it may have been removed unnoticed. */
  readonly vouchedSeq: number;
}

export interface AuditToVerify {
  /** The record's files in the order of the chain. */
  readonly files: readonly string[];
  /** Files of checkpoints: the hub's own, and those that were sent away. */
  readonly checkpointFiles: readonly string[];
  readonly publicKey: KeyObject;
  /** The first record that is expected, when older files were put away; default 1. */
  readonly fromSeq?: number;
  /** Whether it is enough that the records follow each other, though no checkpoint vouches for any: then anybody may have written them. Default false. */
  readonly allowUnsigned?: boolean;
}

/** Maximum findings reported: the first says where the damage begins. */
export const MAX_FINDINGS = 1_000;

/**
 * Checks every record against its hash, its predecessor and the checkpoints. Needs no hub, and memory for the checkpoints only.
 * @throws the errors of the file system
 */
export async function verifyAudit(audit: AuditToVerify): Promise<AuditVerdict> {
  const verification = new Verification(audit);
  for (const file of audit.checkpointFiles) await verification.readCheckpoints(file, audit.publicKey);
  for (const file of audit.files) await verification.readSegment(file);
  return verification.verdict();
}

class Verification {
  readonly #findings: AuditFinding[] = [];
  readonly #fromSeq: number;
  readonly #allowUnsigned: boolean;
  readonly #checkpointFiles: readonly string[];
  /** By number; the hub's copy and the one sent away say the same, or the log is compared with both. */
  readonly #signed = new Map<number, Map<string, Checkpoint>>();
  #checkpoints = 0;
  #vouchedSeq = 0;
  #records = 0;
  /** The last record as it says itself; undefined: the first is to come, and must follow this place. */
  #head: ChainHead | undefined;
  #where = '';

  constructor({ fromSeq = 1, allowUnsigned = false, checkpointFiles }: AuditToVerify) {
    this.#fromSeq = fromSeq;
    this.#allowUnsigned = allowUnsigned;
    this.#checkpointFiles = checkpointFiles;
  }

  async readCheckpoints(file: string, publicKey: KeyObject): Promise<void> {
    let line = 0;
    for await (const { text, complete } of linesOf(file)) {
      line++;
      // What a crash left of one; the hub signs the next when it starts.
      if (!complete) continue;
      const read = text === undefined ? { problem: 'is not JSON' } : readCheckpoint(text, publicKey);
      if ('problem' in read) this.#find(file, line, `The checkpoint ${read.problem}.`);
      else this.#keep(read);
    }
  }

  #keep(checkpoint: Checkpoint): void {
    const same = this.#signed.get(checkpoint.seq) ?? new Map<string, Checkpoint>();
    same.set(checkpoint.hash, checkpoint);
    this.#signed.set(checkpoint.seq, same);
  }

  async readSegment(file: string): Promise<void> {
    this.#where = file;
    let line = 0;
    for await (const { text, complete } of linesOf(file)) {
      line++;
      if (!complete) this.#find(file, line, 'The line was not finished.');
      const read = text === undefined ? { problem: 'is not text' } : readRecord(text);
      if ('record' in read) this.#follow(read.record, read.record.prev, file, line);
      else {
        const seq = read.head?.seq ?? this.#expected;
        this.#find(file, line, `Record ${seq} ${read.problem}.`);
        // Trust its own number and hash, so that one changed record yields one finding.
        this.#move(read.head ?? { seq, hash: '' }, file, line);
      }
    }
  }

  get #expected(): number {
    return this.#head === undefined ? this.#fromSeq : this.#head.seq + 1;
  }

  #follow({ seq, hash }: ChainHead, prev: string, file: string, line: number): void {
    const expected = this.#expected;
    if (seq > expected) this.#find(file, line, `${missing(expected, seq - 1)} missing before record ${seq}.`);
    else if (seq < expected) this.#find(file, line, `Record ${seq} is out of order: record ${expected} belongs here.`);
    else if (!this.#isBehind(prev)) {
      this.#find(file, line, `Record ${seq} does not follow the record before it: one of the two was replaced.`);
    }
    this.#move({ seq, hash }, file, line);
  }

  #isBehind(prev: string): boolean {
    // Unknown after a line that could not be read, which is a finding of its own.
    if (this.#head !== undefined) return this.#head.hash === '' || this.#head.hash === prev;
    if (this.#fromSeq === 1) return prev === CHAIN_START.hash;
    const signed = this.#signed.get(this.#fromSeq - 1);
    return signed === undefined || [...signed.keys()].every((hash) => hash === prev);
  }

  #move(head: ChainHead, file: string, line: number): void {
    this.#head = head;
    this.#records++;
    const signed = this.#signed.get(head.seq);
    if (signed === undefined) return;
    this.#signed.delete(head.seq);
    for (const { hash, at } of signed.values()) {
      this.#checkpoints++;
      if (hash === head.hash) this.#vouchedSeq = Math.max(this.#vouchedSeq, head.seq);
      else
        this.#find(file, line, `Record ${head.seq} is not the one that was signed on ${at}: the record was rewritten.`);
    }
  }

  verdict(): AuditVerdict {
    const lastSeq = this.#head?.seq ?? this.#fromSeq - 1;
    const behind = [...this.#signed.keys()].filter((seq) => seq > lastSeq);
    if (behind.length > 0) {
      const seq = Math.max(...behind);
      const at = this.#signed.get(seq)?.values().next().value?.at;
      this.#find(this.#where, undefined, `${missing(lastSeq + 1, seq)} cut off: record ${seq} was signed on ${at}.`);
    }
    const { length } = this.#findings;
    if (this.#records === 0 && length === 0) this.#find(this.#where, undefined, 'There are no records.');
    else if (length === 0 && this.#vouchedSeq === 0 && !this.#allowUnsigned)
      this.#find(this.#where, undefined, unsigned(this.#checkpointFiles));
    return {
      findings: this.#findings,
      records: this.#records,
      lastSeq,
      checkpoints: this.#checkpoints,
      vouchedSeq: this.#vouchedSeq,
    };
  }

  #find(file: string, line: number | undefined, problem: string): void {
    if (this.#findings.length < MAX_FINDINGS) this.#findings.push({ file, line, problem });
  }
}

function unsigned(checkpointFiles: readonly string[]): string {
  const why =
    checkpointFiles.length === 0
      ? 'there is no file of checkpoints (checkpoints.jsonl, or a copy kept elsewhere)'
      : `there is none of them in ${checkpointFiles.join(', ')}`;
  return `No checkpoint vouches for these records: ${why}. Anybody who can write the files may have written them.`;
}

function missing(from: number, to: number): string {
  return from === to ? `Record ${from} is` : `Records ${from} to ${to} are`;
}
