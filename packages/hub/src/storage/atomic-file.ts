import { constants } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { openPlainFile } from './plain-file.ts';

/**
 * Writes `text` to `path` so that a reader gets either the whole old or the whole new text, even after a power failure: the text is written to a temporary
 * file in the same directory, which is synced and then renamed. A file that already has this text is not changed. Only one writer may write to a path at a
 * time (a data directory has one hub).
 */
export async function writeFileAtomic(path: string, text: string, mode: number): Promise<void> {
  if ((await readIfThere(path)) === text) return;
  const directory = dirname(path);
  // The name is always the same, so that the next write removes a file that a crash has left.
  const temporary = join(directory, `.${basename(path)}.tmp`);
  await rm(temporary, { force: true });
  // O_EXCL creates the file or fails, so that nothing is written to a file or link that another user has created there meanwhile.
  // The renaming replaces a link at `path`.
  await using file = await openPlainFile(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode);
  await file.chmod(mode);
  await file.writeFile(text);
  await file.sync();
  await rename(temporary, path);
  await using parent = await open(directory, 'r');
  await parent.sync();
}

/** The file's text, or undefined when there is no such file. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
