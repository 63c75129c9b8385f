import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { type Clock, delay } from '@culvert/stream';
import type { EventSink, HubEvent } from '../events.ts';
import type { LiveStreams } from '../live-streams.ts';
import { type AuditEntry, auditEntry, openStreamsEntries } from './audit-entry.ts';
import { type ChainHead, sealRecord } from './audit-record.ts';
import { type Checkpoint, keyId, signCheckpoint } from './checkpoint.ts';
import { appendCheckpoint, lastCheckpoint } from './checkpoint-file.ts';
import { findOpenStreams } from './open-streams.ts';
import { type RecoveredEnd, recoverEnd } from './recover-end.ts';
import { SegmentWriter } from './segment-writer.ts';

/** Maximum records queued for the disk, about 10 MB: ten seconds at 1,000 records a second. Further records are dropped and counted. */
export const MAX_WAITING_RECORDS = 10_000;

/** Records in one write, about 1 MB. */
const MAX_BATCH = 1_000;

/** Milliseconds before a failed write is retried: `first` before the first retry, then doubled up to `longest`. */
const RETRY_MS = { first: 1_000, longest: 30_000 };

export interface AuditLogOptions {
  /** The directory of the log. The caller has created it with mode 0700. */
  readonly directory: string;
  readonly keys: { readonly privateKey: KeyObject; readonly publicKey: KeyObject };
  readonly clock: Clock;
  readonly onEvent: EventSink;
  /** The live records of streams. Must subscribe to the events before this log does. */
  readonly streams: Pick<LiveStreams, 'get' | 'list'>;
  /** Called with each checkpoint once it is on disk. Must not throw and must not block. */
  readonly onCheckpoint: (checkpoint: Checkpoint) => void;
  /** The number of records after which a checkpoint is signed. */
  readonly checkpointRecords: number;
  /** Milliseconds after which new records are covered by a checkpoint, even if there are fewer than `checkpointRecords`. */
  readonly checkpointMs: number;
  /** Size of a file in bytes after which the next file is begun. */
  readonly segmentBytes: number;
}

type Interrupted = Extract<HubEvent, { type: 'stream-interrupted' }>;

interface QueuedEntry {
  readonly entry: AuditEntry;
  readonly at: number;
}

/**
 * The audit log. It subscribes to the hub's events, chains their records by hash and writes them to disk, with many records per sync. It never blocks
 * the caller: while writes fail, up to {@link MAX_WAITING_RECORDS} records are queued. Further records are dropped, and a `records-lost` record states
 * their number.
 */
export class AuditLog {
  readonly #options: AuditLogOptions;
  readonly #writer: SegmentWriter;
  readonly #queue: QueuedEntry[] = [];
  readonly #closing = new AbortController();
  #head: ChainHead;
  #checkpointed: number;
  #checkpointTimer: { cancel(): void } | undefined;
  /** True at start, so that the `log-opened` record is covered by a checkpoint at once and a new log is never without a checkpoint. */
  #checkpointDue = true;
  /** The number of dropped records that no `records-lost` record states yet, with the times of the first and the last of them. */
  #unrecordedLoss: { count: number; from: number; until: number } | undefined;
  #written = 0;
  #lost = 0;
  #failing = false;
  #running: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  /**
   * One event for each stream that was open when the previous hub process died. The caller must emit these events after it has subscribed this log, so
   * that the log records them.
   */
  readonly interrupted: readonly Interrupted[];

  private constructor(
    options: AuditLogOptions,
    { head, end, last, torn }: RecoveredEnd,
    interrupted: readonly Interrupted[],
  ) {
    this.#options = options;
    this.interrupted = interrupted;
    this.#head = head;
    this.#checkpointed = head.seq;
    this.#writer = new SegmentWriter({ directory: options.directory, maxBytes: options.segmentBytes, end });
    const before = last === undefined ? 'nothing' : last.type === 'log-closed' ? 'closed' : 'interrupted';
    this.#enqueue({ type: 'log-opened', before, torn, key: keyId(options.keys.publicKey) });
  }

  /**
   * Opens the log, continues after its last record, and records in which state the log was found.
   * @throws CulvertError `config_invalid` if the end of the log is damaged; errors of the file system
   */
  static async open(options: AuditLogOptions): Promise<AuditLog> {
    const found = await recoverEnd(options.directory);
    const signed = await lastCheckpoint(checkpointPath(options.directory), options.keys.publicKey);
    if (signed !== undefined && signed.seq > found.head.seq) {
      const problem = `The audit record ends with record ${found.head.seq}, and record ${signed.seq} was signed: records were cut off.`;
      options.onEvent({ type: 'audit-failed', problem });
    }
    const knownUntil = found.last === undefined ? 0 : Date.parse(found.last.at);
    const open = found.last?.type === 'log-closed' ? [] : await findOpenStreams(options.directory);
    const interrupted = open.map((stream): Interrupted => ({ type: 'stream-interrupted', stream, knownUntil }));
    return new AuditLog(options, found, interrupted);
  }

  /** A sink for the hub's events. */
  readonly observe: EventSink = (event) => {
    const entry = auditEntry(event, this.#options.streams);
    if (entry !== undefined) this.#enqueue(entry);
  };

  /** The number of records written to disk since the start. */
  get written(): number {
    return this.#written;
  }

  /** The number of records dropped since the start. */
  get lost(): number {
    return this.#lost;
  }

  /** The number of records queued for the disk. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** The sequence number of the last synced record. Later content of a file may still be cut off. */
  get lastSeq(): number {
    return this.#head.seq;
  }

  /** Resolves when the records of all events received so far are on disk. */
  async settled(): Promise<void> {
    // A record that was queued after this run's last check is written by the next run.
    while (this.#running !== undefined) await this.#running;
  }

  /** Writes the queued records (one last attempt) and the final checkpoint. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    this.#enqueue({ type: 'log-closed' });
    this.#checkpointDue = true;
    this.#closing.abort();
    await this.#running;
    // The run may have checked the queue for the last time before the record above was queued.
    if (this.#hasWork) await this.#writeAll();
    this.#checkpointTimer?.cancel();
    await this.#writer.close();
    if (this.#queue.length === 0) return;
    this.#lost += this.#queue.length;
    const problem = `The audit record could not be written: ${this.#queue.length} records are lost.`;
    this.#queue.length = 0;
    this.#options.onEvent({ type: 'audit-failed', problem });
  }

  #enqueue(entry: AuditEntry): void {
    const at = this.#options.clock.now();
    // Two slots are needed: a `records-lost` record may have to be queued before this record.
    if (this.#queue.length + 2 > MAX_WAITING_RECORDS) {
      this.#lost++;
      this.#unrecordedLoss = {
        count: (this.#unrecordedLoss?.count ?? 0) + 1,
        from: this.#unrecordedLoss?.from ?? at,
        until: at,
      };
      return;
    }
    this.#recordLoss(at);
    this.#queue.push({ entry, at });
    this.#run();
  }

  /** Records the open streams in a new file, so that the next start finds them in the newest files. */
  #recordOpenStreams(): void {
    const open = this.#options.streams.list().filter(({ establishedAt }) => establishedAt !== undefined);
    const entries = openStreamsEntries(open);
    this.#writer.reserve(entries.reduce((bytes, entry) => bytes + Buffer.byteLength(JSON.stringify(entry)), 0));
    for (const entry of entries) this.#enqueue(entry);
  }

  #recordLoss(at: number): void {
    if (this.#unrecordedLoss === undefined) return;
    const { count, from, until } = this.#unrecordedLoss;
    this.#unrecordedLoss = undefined;
    const times = { from: new Date(from).toISOString(), until: new Date(until).toISOString() };
    this.#queue.push({ entry: { type: 'records-lost', count, ...times }, at });
  }

  #run(): void {
    this.#running ??= this.#writeAll().finally(() => {
      this.#running = undefined;
      // A record was queued after the last check.
      if (this.#hasWork && !this.#closing.signal.aborted) this.#run();
    });
  }

  get #hasWork(): boolean {
    return this.#queue.length > 0 || this.#checkpointDue;
  }

  async #writeAll(): Promise<void> {
    // The records of one event-loop iteration are written together.
    await new Promise((resolve) => setImmediate(resolve));
    let wait = RETRY_MS.first;
    while (this.#hasWork) {
      try {
        await this.#writeBatch();
        if (this.#checkpointDue) await this.#checkpoint();
        this.#recovered();
        wait = RETRY_MS.first;
      } catch (error) {
        this.#failed(error);
        // This was the last attempt.
        if (this.#closing.signal.aborted) return;
        await delay(this.#options.clock, wait, this.#closing.signal).catch(() => undefined);
        wait = Math.min(2 * wait, RETRY_MS.longest);
      }
    }
  }

  async #writeBatch(): Promise<void> {
    const batch = this.#queue.slice(0, MAX_BATCH);
    const [first] = batch;
    if (first === undefined) return;
    let head = this.#head;
    let text = '';
    for (const { entry, at } of batch) {
      const sealed = sealRecord(entry, at, head);
      text += `${sealed.line}\n`;
      head = sealed.head;
    }
    const { began } = await this.#writer.append(text, this.#head.seq + 1, first.at);
    this.#head = head;
    this.#queue.splice(0, batch.length);
    // No stream is open any more when the audit log is being closed.
    if (began && !this.#closing.signal.aborted) this.#recordOpenStreams();
    this.#written += batch.length;
    const { clock, checkpointRecords, checkpointMs } = this.#options;
    if (head.seq - this.#checkpointed >= checkpointRecords) this.#checkpointDue = true;
    this.#checkpointTimer ??= clock.setTimer(checkpointMs, () => {
      this.#checkpointDue = true;
      this.#run();
    });
    // Record the loss now instead of with the next record.
    if (this.#queue.length === 0) this.#recordLoss(clock.now());
  }

  async #checkpoint(): Promise<void> {
    // At close, only the checkpoint after the last record is needed.
    if (this.#closing.signal.aborted && this.#queue.length > 0) return;
    const { directory, keys, clock, onCheckpoint } = this.#options;
    if (this.#head.seq > this.#checkpointed) {
      const checkpoint = signCheckpoint(this.#head, clock.now(), keys);
      await appendCheckpoint(checkpointPath(directory), checkpoint);
      this.#checkpointed = checkpoint.seq;
      onCheckpoint(checkpoint);
    }
    this.#checkpointDue = false;
    this.#checkpointTimer?.cancel();
    this.#checkpointTimer = undefined;
  }

  #failed(error: unknown): void {
    if (this.#failing) return;
    this.#failing = true;
    const why = error instanceof Error ? error.message : String(error);
    const problem = `The audit record cannot be written: ${why}. Streams continue; up to ${MAX_WAITING_RECORDS} records are queued.`;
    this.#options.onEvent({ type: 'audit-failed', problem });
  }

  #recovered(): void {
    if (!this.#failing) return;
    this.#failing = false;
    this.#options.onEvent({ type: 'audit-resumed', lost: this.#lost });
  }
}

/** The path of the file with the hub's own copies of its checkpoints. */
export function checkpointPath(directory: string): string {
  return join(directory, 'checkpoints.jsonl');
}
