import { constants } from 'node:fs';
import { type AuditRecord, CulvertError, printable } from '@culvert/protocol';
import { openPlainFile } from '../../storage/plain-file.ts';
import { CHAIN_START, type ChainHead, readRecord } from './audit-record.ts';
import { listSegments, type SegmentFile } from './segment-files.ts';
import type { SegmentEnd } from './segment-writer.ts';

/** Bytes read from the end of a file: more than two of the longest records. */
const TAIL_BYTES = 131_072;

/** Maximum characters kept of an incomplete line, so that an operator can see what it was about. */
const MAX_TORN_TEXT = 2_048;

/** The state of the log at start. */
export interface RecoveredEnd {
  readonly head: ChainHead;
  readonly end: SegmentEnd | undefined;
  /** The last record; undefined: there is none yet. */
  readonly last: AuditRecord | undefined;
  /** The incomplete last line that a crash left behind; it was cut off. */
  readonly torn: { readonly bytes: number; readonly text: string } | undefined;
}

/**
 * Finds the last record and cuts off an incomplete line after it: an interrupted append leaves a part of a line without a newline.
 * @throws CulvertError `config_invalid` when the last complete line is not a record: a crash cannot have caused that
 */
export async function recoverEnd(directory: string): Promise<RecoveredEnd> {
  let torn: RecoveredEnd['torn'];
  for (const file of (await listSegments(directory)).reverse()) {
    const { size, lastLine, rest } = await readTail(file);
    // An earlier file has no incomplete line: a new file is begun only after a complete line.
    if (rest.length > 0) torn = { bytes: rest.length, text: printable(rest.toString('utf8'), MAX_TORN_TEXT) };
    // A file that was created but not written to.
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
    throw new CulvertError('config_invalid', `The audit record is damaged: ${file.path} ends in what is no record.`);
  }
  const rest = tail.subarray(end + 1);
  if (rest.length > 0) {
    await handle.truncate(size - rest.length);
    await handle.sync();
  }
  // lastIndexOf takes a negative offset from the end, so a line that begins the file is looked after by itself.
  const begin = end <= 0 ? 0 : tail.lastIndexOf(0x0a, end - 1) + 1;
  return {
    size: size - rest.length,
    lastLine: end < 0 ? undefined : tail.subarray(begin, end).toString('utf8'),
    rest: Buffer.from(rest),
  };
}
