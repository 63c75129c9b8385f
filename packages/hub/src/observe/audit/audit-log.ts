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

/** Maximum records waiting for the disk, about 10 MB: ten seconds at a thousand streams a second. Further records are dropped and counted. */
export const MAX_WAITING_RECORDS = 10_000;

/** Records in one write, about 1 MB. */
const MAX_BATCH = 1_000;

/** Milliseconds before a failed write is retried: starts at the first, doubles up to the second. */
const RETRY_MS = { first: 1_000, longest: 30_000 };

export interface AuditLogOptions {
  /** Made by the caller, 0700. */
  readonly directory: string;
  readonly keys: { readonly privateKey: KeyObject; readonly publicKey: KeyObject };
  readonly clock: Clock;
  readonly onEvent: EventSink;
  /** Where a stream's story so far is found, and which are open; it must hear events first. */
  readonly streams: Pick<LiveStreams, 'get' | 'list'>;
  /** Told of each checkpoint once it is on disk. Must neither throw nor block. */
  readonly onCheckpoint: (checkpoint: Checkpoint) => void;
  /** Records, and milliseconds, after which there is a checkpoint at the latest. */
  readonly checkpointRecords: number;
  readonly checkpointMs: number;
  /** Bytes after which another file is begun. */
  readonly segmentBytes: number;
}

type Interrupted = Extract<HubEvent, { type: 'stream-interrupted' }>;

interface Waiting {
  readonly entry: AuditEntry;
  readonly at: number;
}

/**
 * The audit log: subscribes to the hub's events, chains them by hash and writes them to disk, many records per sync. It never
 * blocks the caller: while the disk fails, a bounded number of records is queued; further ones are dropped and counted, and the count is recorded.
 */
export class AuditLog {
  readonly #options: AuditLogOptions;
  readonly #writer: SegmentWriter;
  readonly #waiting: Waiting[] = [];
  readonly #closing = new AbortController();
  #head: ChainHead;
  #checkpointed: number;
  #checkpointTimer: { cancel(): void } | undefined;
  /** At start too: how the record was found is vouched for at once, and a new record is never without a checkpoint. */
  #checkpointDue = true;
  /** Dropped records that the chain does not mention yet. */
  #unsaid: { count: number; from: number; until: number } | undefined;
  #written = 0;
  #lost = 0;
  #failing = false;
  #running: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  /** Streams that were open when the hub that wrote the record before died. To be told, once this log hears events, so that they are in it. */
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
   * Opens the log, continues after its last record, and records how it was found.
   * @throws CulvertError `config_invalid` when its end is damaged; what the file system says
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

  /** For the hub's events. */
  readonly observe: EventSink = (event) => {
    const entry = auditEntry(event, this.#options.streams);
    if (entry !== undefined) this.#enqueue(entry);
  };

  /** Records put on disk since the start. */
  get written(): number {
    return this.#written;
  }

  /** Records lost since the start. */
  get lost(): number {
    return this.#lost;
  }

  /** Records that wait for the disk. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** The number of the last synced record: anything after it in a file may still be cut off. */
  get lastSeq(): number {
    return this.#head.seq;
  }

  /** Resolves when every event so far is on disk. */
  async settled(): Promise<void> {
    // An event that arrived after this run's last check is written by the next run.
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
    // The run may have checked the queue for the last time before the record above was added.
    if (this.#hasWork) await this.#writeAll();
    this.#checkpointTimer?.cancel();
    await this.#writer.close();
    if (this.#waiting.length === 0) return;
    this.#lost += this.#waiting.length;
    const problem = `The audit record could not be written: ${this.#waiting.length} records are lost.`;
    this.#waiting.length = 0;
    this.#options.onEvent({ type: 'audit-failed', problem });
  }

  #enqueue(entry: AuditEntry): void {
    const at = this.#options.clock.now();
    // Two slots: the count of dropped records precedes the record that follows them.
    if (this.#waiting.length + 2 > MAX_WAITING_RECORDS) {
      this.#lost++;
      this.#unsaid = { count: (this.#unsaid?.count ?? 0) + 1, from: this.#unsaid?.from ?? at, until: at };
      return;
    }
    this.#sayLost(at);
    this.#waiting.push({ entry, at });
    this.#run();
  }

  /** Records the open streams in each file, so that the next start finds them in the newest files. */
  #recordOpenStreams(): void {
    const open = this.#options.streams.list().filter(({ establishedAt }) => establishedAt !== undefined);
    const entries = openStreamsEntries(open);
    this.#writer.reserve(entries.reduce((bytes, entry) => bytes + Buffer.byteLength(JSON.stringify(entry)), 0));
    for (const entry of entries) this.#enqueue(entry);
  }

  #sayLost(at: number): void {
    if (this.#unsaid === undefined) return;
    const { count, from, until } = this.#unsaid;
    this.#unsaid = undefined;
    const times = { from: new Date(from).toISOString(), until: new Date(until).toISOString() };
    this.#waiting.push({ entry: { type: 'records-lost', count, ...times }, at });
  }

  #run(): void {
    this.#running ??= this.#writeAll().finally(() => {
      this.#running = undefined;
      // Added between the last check and now.
      if (this.#hasWork && !this.#closing.signal.aborted) this.#run();
    });
  }

  get #hasWork(): boolean {
    return this.#waiting.length > 0 || this.#checkpointDue;
  }

  async #writeAll(): Promise<void> {
    // Events of one event-loop iteration share a write.
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
    const batch = this.#waiting.slice(0, MAX_BATCH);
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
    this.#waiting.splice(0, batch.length);
    // After the audit log was closed, no stream is open.
    if (began && !this.#closing.signal.aborted) this.#recordOpenStreams();
    this.#written += batch.length;
    const { clock, checkpointRecords, checkpointMs } = this.#options;
    if (head.seq - this.#checkpointed >= checkpointRecords) this.#checkpointDue = true;
    this.#checkpointTimer ??= clock.setTimer(checkpointMs, () => {
      this.#checkpointDue = true;
      this.#run();
    });
    // Report at once, without waiting for the next record.
    if (this.#waiting.length === 0) this.#sayLost(clock.now());
  }

  async #checkpoint(): Promise<void> {
    // At the end, the one that counts covers everything.
    if (this.#closing.signal.aborted && this.#waiting.length > 0) return;
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
    const problem = `The audit record cannot be written: ${why}. Streams go on; up to ${MAX_WAITING_RECORDS} records wait.`;
    this.#options.onEvent({ type: 'audit-failed', problem });
  }

  #recovered(): void {
    if (!this.#failing) return;
    this.#failing = false;
    this.#options.onEvent({ type: 'audit-resumed', lost: this.#lost });
  }
}

/** The hub's own copy of its checkpoints. */
export function checkpointPath(directory: string): string {
  return join(directory, 'checkpoints.jsonl');
}
