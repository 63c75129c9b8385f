import type { KeyObject } from 'node:crypto';
import { CHAIN_START, type ChainHead, readRecord } from './audit-record.ts';
import { type Checkpoint, readCheckpoint } from './checkpoint.ts';
import { linesOf } from './lines.ts';

/** One problem found in the audit log, and its place. */
export interface AuditFinding {
  readonly file: string;
  /** The line number, from 1; undefined if the problem concerns the whole file. */
  readonly line: number | undefined;
  /** The problem as a sentence. */
  readonly problem: string;
}

/** The result of a verification. */
export interface AuditVerdict {
  /** The first {@link MAX_FINDINGS} problems; empty if none was found. */
  readonly findings: readonly AuditFinding[];
  readonly records: number;
  readonly lastSeq: number;
  /** The number of checkpoints that were compared with a record. */
  readonly checkpoints: number;
  /** The last record covered by a checkpoint; 0 if no record is. Later records may have been removed without a trace. */
  readonly vouchedSeq: number;
}

export interface AuditToVerify {
  /** The files of the audit log in the order of the chain. */
  readonly files: readonly string[];
  /** Files of checkpoints: the hub's own copy, and copies that the hub sent to other machines. */
  readonly checkpointFiles: readonly string[];
  readonly publicKey: KeyObject;
  /** The sequence number of the first expected record, if older files were moved away; default 1. */
  readonly fromSeq?: number;
  /**
   * Whether records are accepted even if no checkpoint covers any of them. Then only the hash chain is verified, so anybody who can write the files may
   * have written the records. Default false.
   */
  readonly allowUnsigned?: boolean;
}

/** Maximum findings reported. The first finding shows where the damage begins. */
export const MAX_FINDINGS = 1_000;

/**
 * Checks every record against its hash, its predecessor and the checkpoints. It needs no running hub, and keeps only the checkpoints in memory.
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
  /** Checkpoints by sequence number, then by hash: copies with the same hash count as one; different ones are all compared with the log. */
  readonly #signed = new Map<number, Map<string, Checkpoint>>();
  #checkpoints = 0;
  #vouchedSeq = 0;
  #records = 0;
  /** The sequence number and hash that the last record states; undefined before the first record. */
  #head: ChainHead | undefined;
  #currentFile = '';

  constructor({ fromSeq = 1, allowUnsigned = false, checkpointFiles }: AuditToVerify) {
    this.#fromSeq = fromSeq;
    this.#allowUnsigned = allowUnsigned;
    this.#checkpointFiles = checkpointFiles;
  }

  async readCheckpoints(file: string, publicKey: KeyObject): Promise<void> {
    let line = 0;
    for await (const { text, complete } of linesOf(file)) {
      line++;
      // An incomplete checkpoint, left by a crash. The hub signs a new one at its next start.
      if (!complete) continue;
      const read = text === undefined ? { problem: 'is not JSON' } : readCheckpoint(text, publicKey);
      if ('problem' in read) this.#addFinding(file, line, `The checkpoint ${read.problem}.`);
      else this.#addCheckpoint(read);
    }
  }

  #addCheckpoint(checkpoint: Checkpoint): void {
    const same = this.#signed.get(checkpoint.seq) ?? new Map<string, Checkpoint>();
    same.set(checkpoint.hash, checkpoint);
    this.#signed.set(checkpoint.seq, same);
  }

  async readSegment(file: string): Promise<void> {
    this.#currentFile = file;
    let line = 0;
    for await (const { text, complete } of linesOf(file)) {
      line++;
      if (!complete) this.#addFinding(file, line, 'The line was not finished.');
      const read = text === undefined ? { problem: 'is not text' } : readRecord(text);
      if ('record' in read) this.#checkOrder(read.record, read.record.prev, file, line);
      else {
        const seq = read.head?.seq ?? this.#expected;
        this.#addFinding(file, line, `Record ${seq} ${read.problem}.`);
        // Continue from the number and hash that the record states, so that one changed record causes one finding.
        this.#advance(read.head ?? { seq, hash: '' }, file, line);
      }
    }
  }

  get #expected(): number {
    return this.#head === undefined ? this.#fromSeq : this.#head.seq + 1;
  }

  #checkOrder({ seq, hash }: ChainHead, prev: string, file: string, line: number): void {
    const expected = this.#expected;
    if (seq > expected) this.#addFinding(file, line, `${missing(expected, seq - 1)} missing before record ${seq}.`);
    else if (seq < expected)
      this.#addFinding(file, line, `Record ${seq} is out of order: record ${expected} belongs here.`);
    else if (!this.#followsHead(prev)) {
      this.#addFinding(file, line, `Record ${seq} does not follow the record before it: one of the two was replaced.`);
    }
    this.#advance({ seq, hash }, file, line);
  }

  #followsHead(prev: string): boolean {
    // The hash is unknown after a line that could not be read; that line is already a finding.
    if (this.#head !== undefined) return this.#head.hash === '' || this.#head.hash === prev;
    if (this.#fromSeq === 1) return prev === CHAIN_START.hash;
    const signed = this.#signed.get(this.#fromSeq - 1);
    return signed === undefined || [...signed.keys()].every((hash) => hash === prev);
  }

  #advance(head: ChainHead, file: string, line: number): void {
    this.#head = head;
    this.#records++;
    const signed = this.#signed.get(head.seq);
    if (signed === undefined) return;
    this.#signed.delete(head.seq);
    for (const { hash, at } of signed.values()) {
      this.#checkpoints++;
      if (hash === head.hash) this.#vouchedSeq = Math.max(this.#vouchedSeq, head.seq);
      else
        this.#addFinding(
          file,
          line,
          `Record ${head.seq} is not the one that was signed on ${at}: the record was rewritten.`,
        );
    }
  }

  verdict(): AuditVerdict {
    const lastSeq = this.#head?.seq ?? this.#fromSeq - 1;
    const missed = [...this.#signed.keys()].filter((seq) => seq > lastSeq);
    if (missed.length > 0) {
      const seq = Math.max(...missed);
      const at = this.#signed.get(seq)?.values().next().value?.at;
      this.#addFinding(
        this.#currentFile,
        undefined,
        `${missing(lastSeq + 1, seq)} cut off: record ${seq} was signed on ${at}.`,
      );
    }
    const { length } = this.#findings;
    if (this.#records === 0 && length === 0) this.#addFinding(this.#currentFile, undefined, 'There are no records.');
    else if (length === 0 && this.#vouchedSeq === 0 && !this.#allowUnsigned)
      this.#addFinding(this.#currentFile, undefined, unsigned(this.#checkpointFiles));
    return {
      findings: this.#findings,
      records: this.#records,
      lastSeq,
      checkpoints: this.#checkpoints,
      vouchedSeq: this.#vouchedSeq,
    };
  }

  #addFinding(file: string, line: number | undefined, problem: string): void {
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
