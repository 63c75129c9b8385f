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

/** The hub's audit record with what belongs to it. */
export interface Audit {
  readonly observe: EventSink;
  /** Of each stream that was open when the hub before this one died; to be told to all who observe. */
  readonly interrupted: readonly HubEvent[];
  /** Counts for the metrics. */
  readonly counts: () => AuditCounts;
  /** @throws CulvertError `too_many_requests` when two others read already */
  readonly read: (query: AuditQuery) => Promise<AuditPage>;
  /** Resolves when what was told so far is on disk. */
  settled(): Promise<void>;
  /** Writes pending records, signs a checkpoint and sends it. */
  close(): Promise<void>;
}

/** Since the start of the hub. */
export interface AuditCounts {
  readonly written: number;
  readonly lost: number;
  readonly waiting: number;
  /** Tries to send a checkpoint away that failed. */
  readonly sendFailures: number;
}

/** Pages read at once: each reads files for up to half a second. */
const MAX_READERS = 2;

/** The name of its directory below the data directory. */
export const AUDIT_DIRECTORY = 'audit';

/**
 * Opens the audit record in the data directory, which the caller holds locked.
 * @throws CulvertError `config_invalid`; what the file system says
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
      if (readers >= MAX_READERS) throw new CulvertError('too_many_requests', 'The audit record is being read.');
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
    if (status < 200 || status > 299) throw new CulvertError('unreachable', `The receiver answered ${status}.`);
  };
}
