import type { AuditRecord, AuditType, AuditValue } from '@culvert/protocol';
import { readRecord } from './audit-record.ts';
import { linesOf } from './lines.ts';
import { dayOf, listSegments, type SegmentFile } from './segment-files.ts';

/** Which records to return. Times in milliseconds since the epoch. */
export interface AuditQuery {
  /** Return only records with a greater sequence number: `next` of the previous page, or 0 for the first page. */
  readonly after: number;
  readonly since?: number | undefined;
  readonly until?: number | undefined;
  readonly deviceId?: string | undefined;
  readonly type?: AuditType | undefined;
  readonly limit: number;
}

/** A page of records, oldest first. */
export interface AuditPage {
  readonly records: readonly AuditRecord[];
  /** The value of `after` for the next page; undefined if there are no more records yet. A short or empty page is not necessarily the last one. */
  readonly next: number | undefined;
}

/** Maximum lines read for one page; reading them takes less than half a second. */
const MAX_LINES = 50_000;

/**
 * Reads a page of the audit log from its files.
 * @param lastSeq the sequence number of the last synced record
 */
export async function readAudit(directory: string, query: AuditQuery, lastSeq: number): Promise<AuditPage> {
  const records: AuditRecord[] = [];
  // Searching a line for this text is cheaper than parsing it. Lines that contain it are then parsed and compared.
  const deviceText = query.deviceId === undefined ? '' : `"deviceId":${JSON.stringify(query.deviceId)}`;
  let seq = query.after;
  let lines = 0;
  for (const file of segmentsFor(await listSegments(directory), query)) {
    seq = Math.max(seq, file.firstSeq - 1);
    let next = file.firstSeq;
    for await (const { text, complete } of linesOf(file.path)) {
      if (!complete || next > lastSeq) break;
      const at = next++;
      if (at <= query.after) continue;
      if (records.length === query.limit || ++lines > MAX_LINES) return { records, next: seq };
      seq = at;
      if (text === undefined || !text.includes(deviceText)) continue;
      const read = readRecord(text);
      // A tampered record is left out; `culvert audit verify` reports it.
      if ('record' in read && matches(read.record, query)) records.push(read.record);
    }
  }
  return { records, next: undefined };
}

/** The files that can contain matching records. The last record of a file is the one before the first record of the next file. */
function segmentsFor(files: readonly SegmentFile[], { after, since, until }: AuditQuery): SegmentFile[] {
  return files.filter(({ day }, index) => {
    const following = files[index + 1];
    if (following !== undefined && following.firstSeq <= after + 1) return false;
    // Allow one day of margin at both ends, because the clock may have been set back by some hours.
    if (since !== undefined && following !== undefined && following.day < dayOf(since - DAY_MS)) return false;
    return until === undefined || day <= dayOf(until + DAY_MS);
  });
}

const DAY_MS = 86_400_000;

function matches(record: AuditRecord, query: AuditQuery): boolean {
  const at = Date.parse(record.at);
  if (query.since !== undefined && at < query.since) return false;
  if (query.until !== undefined && at >= query.until) return false;
  if (query.type !== undefined && record.type !== query.type) return false;
  return query.deviceId === undefined || deviceOf(record) === query.deviceId;
}

function deviceOf(record: AuditRecord): AuditValue | undefined {
  const stream = record['stream'];
  const subject = isObject(stream) ? stream : record;
  return subject['deviceId'];
}

function isObject(value: AuditValue | undefined): value is { readonly [key: string]: AuditValue | undefined } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
