import { constants, type Stats } from 'node:fs';
import { type FileHandle, rename, rm, stat } from 'node:fs/promises';
import { openPlainFile } from '../../storage/plain-file.ts';
import type { LogTarget } from '../resource-log/log-delivery.ts';
import type { LogRecord } from '../resource-log/log-entry.ts';

export interface FileTargetOptions {
  readonly path: string;
  /** Bytes beyond which the file is rotated. */
  readonly maxBytes: number;
  /** Rotated files to keep: `PATH.1` is the newest. */
  readonly keep: number;
}

/** Writes records to a file of JSON lines, rotated by size. A batch is written completely or not at all, also when the disk is full. */
export class FileTarget implements LogTarget {
  readonly #options: FileTargetOptions;
  #file: FileHandle | undefined;
  #size = 0;
  /** Identity of the open file, to notice that another program rotated it. */
  #inode = 0;

  private constructor(options: FileTargetOptions) {
    this.#options = options;
  }

  /** Opens the file, or makes it (0600). @throws what the file system says; an error when something else than a file is there */
  static async open(options: FileTargetOptions): Promise<FileTarget> {
    const there = await statIfThere(options.path);
    // Writing to a pipe could block, and a device would be renamed.
    if (there !== undefined && !there.isFile()) throw new Error(`${options.path} is not a file.`);
    const target = new FileTarget(options);
    await target.#open();
    return target;
  }

  async deliver(batch: readonly LogRecord[]): Promise<number> {
    const text = Buffer.from(batch.map(({ json }) => `${json}\n`).join(''));
    let file = await this.#current();
    if (this.#size > 0 && this.#size + text.length > this.#options.maxBytes) file = await this.#rotate();
    try {
      await file.appendFile(text);
      this.#size += text.length;
    } catch (error) {
      // Otherwise half of the batch would be duplicated by the retry. If this fails too, the next opening terminates the incomplete line.
      await file.truncate(this.#size).catch(() => this.close());
      throw error;
    }
    return 0;
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  /** The open file, unless it was moved or removed meanwhile. */
  async #current(): Promise<FileHandle> {
    const there = await statIfThere(this.#options.path);
    if (this.#file !== undefined && there?.ino === this.#inode) return this.#file;
    await this.close();
    return this.#open();
  }

  async #open(): Promise<FileHandle> {
    const file = await openPlainFile(this.#options.path, constants.O_RDWR | constants.O_CREAT | constants.O_APPEND);
    this.#file = file;
    const { size, ino } = await file.stat();
    this.#size = size;
    this.#inode = ino;
    if (size > 0) {
      const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
      // What a crash cut off stays a line of its own.
      if (buffer.toString() !== '\n') this.#size += (await file.write('\n')).bytesWritten;
    }
    return file;
  }

  async #rotate(): Promise<FileHandle> {
    const { path, keep } = this.#options;
    await this.close();
    if (keep === 0) await rm(path, { force: true });
    for (let number = keep; number > 0; number--) {
      const from = number === 1 ? path : `${path}.${number - 1}`;
      await rename(from, `${path}.${number}`).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
    }
    return this.#open();
  }
}

async function statIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
