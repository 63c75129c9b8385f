import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { openPlainFile } from '../../storage/plain-file.ts';
import { dayOf, type SegmentFile, segmentFile } from './segment-files.ts';

/** Where to append: the file, and its length in valid bytes. */
export interface SegmentEnd {
  readonly file: SegmentFile;
  readonly size: number;
}

/**
 * Appends to the newest file of the audit log; begins a new one each day and beyond a size. A failed write leaves nothing behind
 * that would be read as valid: the next write first cuts the file to its synced length.
 */
export class SegmentWriter {
  readonly #directory: string;
  readonly #maxBytes: number;
  #end: SegmentEnd | undefined;
  #handle: FileHandle | undefined;
  /** Bytes before which the current file is not full, see {@link reserve}. */
  #reserved = 0;

  /** @param options.end where to go on; undefined: with the first file */
  constructor(options: { directory: string; maxBytes: number; end: SegmentEnd | undefined }) {
    this.#directory = options.directory;
    this.#maxBytes = options.maxBytes;
    this.#end = options.end;
  }

  /**
   * Puts whole lines on disk; resolves when they are synced, and says whether they began another file.
   * @param firstSeq the number of the first record in `text`
   * @param at when that was told, milliseconds since the epoch
   * @throws what the file system says
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
      // The next write reopens the file and truncates what this one left.
      await this.close();
      throw error;
    }
  }

  /**
   * Makes room in the current file, whatever its maximum, for `bytes` that every file begins with and for as much after them. Otherwise what a file
   * begins with, when it is longer than the maximum, would begin the next file, and so on without end.
   */
  reserve(bytes: number): void {
    this.#reserved = (this.#end?.size ?? 0) + 2 * bytes;
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    // Everything that matters is synced; a handle that cannot be closed is lost anyway.
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
    // The file can contain nothing valid: its records would come after the end of the chain.
    const handle = await openPlainFile(file.path, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC);
    this.#handle = handle;
    const directory = await open(this.#directory, 'r');
    await directory.sync().finally(() => directory.close());
    const end = { file, size: 0 };
    this.#end = end;
    return { handle, end };
  }
}

/** A full disk may take a part of a write and say so only at the next. */
async function writeFully(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
