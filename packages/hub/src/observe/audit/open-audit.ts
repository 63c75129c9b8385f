import { join } from 'node:path';
import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { AuditConfig } from '../../config/audit-config.ts';
import { openDataDirectory } from '../../storage/data-directory.ts';
import type { EventSink, HubEvent } from '../events.ts';
import type { HttpPost } from '../http-post.ts';
import type { LiveStreams } from '../live-streams.ts';
import { openEndpoint } from '../open-endpoint.ts';
import { openAuditKeys } from './audit-key.ts';
import { AuditLog } from './audit-log.ts';
import { checkpointLine } from './checkpoint.ts';
import { appendCheckpoint } from './checkpoint-file.ts';
import { CheckpointOutbox, type SendCheckpoint } from './checkpoint-outbox.ts';
import { type AuditPage, type AuditQuery, readAudit } from './read-audit.ts';

/** The hub's audit log with its readers and the delivery of its checkpoints. */
export interface Audit {
  /** A sink for the hub's events. */
  readonly observe: EventSink;
  /** One event for each stream that was open when the previous hub process died. The caller must emit them to all subscribers. */
  readonly interrupted: readonly HubEvent[];
  /** Counts for the metrics. */
  readonly counts: () => AuditCounts;
  /** Reads one page. @throws CulvertError `too_many_requests` if two reads are in progress */
  readonly read: (query: AuditQuery) => Promise<AuditPage>;
  /** Resolves when the records of all events received so far are on disk. */
  settled(): Promise<void>;
  /** Writes the queued records, then signs a checkpoint and sends it. */
  close(): Promise<void>;
}

/** Numbers of records and failures since the hub started; `waiting` is the current number of queued records. */
export interface AuditCounts {
  readonly written: number;
  readonly lost: number;
  readonly waiting: number;
  /** Failed attempts to send a checkpoint. */
  readonly sendFailures: number;
}

/** Pages that may be read at the same time. Each read takes up to half a second. */
const MAX_READERS = 2;

/** The name of the audit log's directory in the data directory. */
export const AUDIT_DIRECTORY = 'audit';

/**
 * Opens the audit log in the data directory. The caller must hold the lock of the data directory.
 * @throws CulvertError `config_invalid`; errors of the file system
 */
export async function openAudit(
  config: AuditConfig,
  dataDir: string,
  { clock, onEvent, streams }: { clock: Clock; onEvent: EventSink; streams: LiveStreams },
): Promise<Audit> {
  if (!config.enabled) return NO_AUDIT;
  const directory = join(dataDir, AUDIT_DIRECTORY);
  openDataDirectory(directory);
  const keys = await openAuditKeys(directory);
  const { file, http } = config.checkpoints;
  const post = http === undefined ? undefined : openEndpoint('audit.checkpoints.http', http, { clock });
  const sends = [...(file === undefined ? [] : [toFile(file)]), ...(post === undefined ? [] : [toUrl(post)])];
  const outboxes = sends.map((send) => new CheckpointOutbox({ send, clock }));
  const { checkpointRecords, checkpointMs, segmentBytes } = config;
  const log = await AuditLog.open({
    ...{ directory, keys, clock, onEvent, streams, checkpointRecords, checkpointMs, segmentBytes },
    onCheckpoint: (checkpoint) => {
      for (const outbox of outboxes) outbox.add(checkpoint);
    },
  });
  let readers = 0;
  return {
    observe: log.observe,
    interrupted: log.interrupted,
    counts: () => ({
      written: log.written,
      lost: log.lost,
      waiting: log.waiting,
      sendFailures: outboxes.reduce((sum, { failures }) => sum + failures, 0),
    }),
    async read(query) {
      if (readers >= MAX_READERS) {
        throw new CulvertError('too_many_requests', `${MAX_READERS} requests are reading the audit record already.`);
      }
      readers++;
      try {
        return await readAudit(directory, query, log.lastSeq);
      } finally {
        readers--;
      }
    },
    settled: () => log.settled(),
    async close() {
      await log.close();
      await Promise.all(outboxes.map((outbox) => outbox.close()));
      await post?.close();
    },
  };
}

const NO_AUDIT: Audit = {
  observe: () => undefined,
  interrupted: [],
  counts: () => ({ written: 0, lost: 0, waiting: 0, sendFailures: 0 }),
  read: () => Promise.resolve({ records: [], next: undefined }),
  settled: () => Promise.resolve(),
  close: () => Promise.resolve(),
};

function toFile(file: string): SendCheckpoint {
  return (checkpoint) => appendCheckpoint(file, checkpoint);
}

function toUrl(post: HttpPost): SendCheckpoint {
  return async (checkpoint, signal) => {
    const { status } = await post.post(checkpointLine(checkpoint), signal);
    if (status < 200 || status > 299)
      throw new CulvertError('unreachable', `The receiver answered with status ${status}.`);
  };
}
