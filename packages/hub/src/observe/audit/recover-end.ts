import { constants } from 'node:fs';
import { type AuditRecord, CulvertError, printable } from '@culvert/protocol';
import { openPlainFile } from '../../storage/plain-file.ts';
import { CHAIN_START, type ChainHead, readRecord } from './audit-record.ts';
import { listSegments, type SegmentFile } from './segment-files.ts';
import type { SegmentEnd } from './segment-writer.ts';

/** Bytes read from the end of a file: more than two records of the maximum length. */
const TAIL_BYTES = 131_072;

/** Maximum characters kept of an incomplete line, so that an operator can see which event it recorded. */
const MAX_TORN_TEXT = 2_048;

/** The end of the audit log as found at start. */
export interface RecoveredEnd {
  readonly head: ChainHead;
  /** Where to append; undefined if there is no record yet. */
  readonly end: SegmentEnd | undefined;
  /** The last record; undefined if there is none yet. */
  readonly last: AuditRecord | undefined;
  /** The incomplete last line, left by a crash, that was cut off; undefined if there was none. */
  readonly torn: { readonly bytes: number; readonly text: string } | undefined;
}

/**
 * Finds the last record and cuts off an incomplete line after it. An interrupted append leaves such a line: part of a record without a newline.
 * @throws CulvertError `config_invalid` if the last complete line is not a record, which a crash cannot have caused
 */
export async function recoverEnd(directory: string): Promise<RecoveredEnd> {
  let torn: RecoveredEnd['torn'];
  for (const file of (await listSegments(directory)).reverse()) {
    const { size, lastLine, rest } = await readTail(file);
    // Only the newest file can have an incomplete line: a new file is begun only after a complete line.
    if (rest.length > 0) torn = { bytes: rest.length, text: printable(rest.toString('utf8'), MAX_TORN_TEXT) };
    // The file was created, but no complete line was written to it.
    if (lastLine === undefined) continue;
    const read = readRecord(lastLine);
    if ('problem' in read) {
      throw new CulvertError(
        'config_invalid',
        `The audit record is damaged: the last line of ${file.path} ${read.problem}. Keep the directory as evidence, move it away, and start the hub again to begin a new one.`,
      );
    }
    const { seq, hash } = read.record;
    return { head: { seq, hash }, end: { file, size }, last: read.record, torn };
  }
  return { head: CHAIN_START, end: undefined, last: undefined, torn };
}

/** Reads the last complete line and cuts the file after it. */
async function readTail(file: SegmentFile): Promise<{ size: number; lastLine: string | undefined; rest: Buffer }> {
  await using handle = await openPlainFile(file.path, constants.O_RDWR);
  const { size } = await handle.stat();
  const start = Math.max(0, size - TAIL_BYTES);
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(size - start), 0, size - start, start);
  const tail = buffer.subarray(0, bytesRead);
  const end = tail.lastIndexOf(0x0a);
  if (end < 0 && start > 0) {
    throw new CulvertError('config_invalid', `The audit record is damaged: ${file.path} does not end with a record.`);
  }
  const rest = tail.subarray(end + 1);
  if (rest.length > 0) {
    await handle.truncate(size - rest.length);
    await handle.sync();
  }
  // lastIndexOf would count a negative offset from the end, so an empty first line needs a case of its own.
  const begin = end <= 0 ? 0 : tail.lastIndexOf(0x0a, end - 1) + 1;
  return {
    size: size - rest.length,
    lastLine: end < 0 ? undefined : tail.subarray(begin, end).toString('utf8'),
    rest: Buffer.from(rest),
  };
}
