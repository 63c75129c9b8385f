import type { KeyObject } from 'node:crypto';
import { constants } from 'node:fs';
import { openPlainFile } from '../../storage/plain-file.ts';
import { type Checkpoint, checkpointLine, readCheckpoint } from './checkpoint.ts';
import { linesOf } from './lines.ts';

/** Bytes read from the end of the file. A checkpoint is shorter than 1 KiB, so these bytes contain the newline of the last complete one. */
const TAIL_BYTES = 4_096;

/**
 * Appends a checkpoint to a file and syncs it. Creates the file (0600) if it does not exist. An incomplete last line, left by a crash, is cut off first.
 * @throws errors of the file system
 */
export async function appendCheckpoint(path: string, checkpoint: Checkpoint): Promise<void> {
  await using file = await openPlainFile(path, constants.O_RDWR | constants.O_CREAT);
  const { size } = await file.stat();
  const start = Math.max(0, size - TAIL_BYTES);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
  const good = start + buffer.subarray(0, bytesRead).lastIndexOf(0x0a) + 1;
  await file.truncate(good);
  await file.write(`${checkpointLine(checkpoint)}\n`, good);
  await file.datasync();
}

/** The last checkpoint in a file that was signed with this key; undefined if there is none or the file does not exist. */
export async function lastCheckpoint(path: string, publicKey: KeyObject): Promise<Checkpoint | undefined> {
  let last: Checkpoint | undefined;
  try {
    for await (const { text } of linesOf(path)) {
      const read = text === undefined ? undefined : readCheckpoint(text, publicKey);
      if (read !== undefined && !('problem' in read)) last = read;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return last;
}
