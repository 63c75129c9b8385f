import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { openPlainFile } from '../../storage/plain-file.ts';
import { dayOf, type SegmentFile, segmentFile } from './segment-files.ts';

/** The position at which to append: the newest file and the length of its valid content in bytes. */
export interface SegmentEnd {
  readonly file: SegmentFile;
  readonly size: number;
}

/**
 * Appends to the newest file of the audit log. Begins a new file each day and when the current one has reached its maximum size. After a failed write,
 * the next write first truncates the file to its synced length, so that no part of the failed write remains.
 */
export class SegmentWriter {
  readonly #directory: string;
  readonly #maxBytes: number;
  #end: SegmentEnd | undefined;
  #handle: FileHandle | undefined;
  /** Size in bytes up to which the current file counts as not full, regardless of its maximum; see {@link reserve}. */
  #reserved = 0;

  /** @param options.end where to append; undefined to begin the first file */
  constructor(options: { directory: string; maxBytes: number; end: SegmentEnd | undefined }) {
    this.#directory = options.directory;
    this.#maxBytes = options.maxBytes;
    this.#end = options.end;
  }

  /**
   * Writes whole lines to disk. Resolves when they are synced.
   * @param firstSeq the number of the first record in `text`
   * @param at the time of that record, milliseconds since the epoch
   * @returns whether these lines are the first of a new file
   * @throws errors of the file system
   */
  async append(text: string, firstSeq: number, at: number): Promise<{ readonly began: boolean }> {
    const bytes = Buffer.from(text);
    try {
      const { handle, end } = await this.#open(firstSeq, at);
      await writeFully(handle, bytes, end.size);
      await handle.datasync();
      this.#end = { file: end.file, size: end.size + bytes.length };
      return { began: end.size === 0 };
    } catch (error) {
      // The next write reopens the file and removes what this write left behind.
      await this.close();
      throw error;
    }
  }

  /**
   * Reserves twice `bytes` in the current file, regardless of its maximum size: for the list of open streams at the beginning of each file, whose length
   * is `bytes`, and for the same amount of later records. Without this, a list longer than the maximum would begin a new file, with another such list,
   * without end.
   */
  reserve(bytes: number): void {
    this.#reserved = (this.#end?.size ?? 0) + 2 * bytes;
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    // All acknowledged records are synced, so an error on close is ignored.
    await handle?.close().catch(() => undefined);
  }

  async #open(firstSeq: number, at: number): Promise<{ handle: FileHandle; end: SegmentEnd }> {
    const end = this.#end;
    const isFull =
      end === undefined || end.size >= Math.max(this.#maxBytes, this.#reserved) || end.file.day !== dayOf(at);
    if (isFull) return this.#begin(segmentFile(this.#directory, firstSeq, at));
    if (this.#handle === undefined) {
      this.#handle = await openPlainFile(end.file.path, constants.O_RDWR);
      await this.#handle.truncate(end.size);
    }
    return { handle: this.#handle, end };
  }

  async #begin(file: SegmentFile): Promise<{ handle: FileHandle; end: SegmentEnd }> {
    await this.close();
    this.#reserved = 0;
    // If the file exists, its content is not valid, because the chain ends before its first record. So truncate it.
    const handle = await openPlainFile(file.path, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC);
    this.#handle = handle;
    const directory = await open(this.#directory, 'r');
    await directory.sync().finally(() => directory.close());
    const end = { file, size: 0 };
    this.#end = end;
    return { handle, end };
  }
}

/** Writes all bytes. On a full disk, one write may succeed partially and only the next one fails. */
async function writeFully(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
