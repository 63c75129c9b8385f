import { constants } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { openPlainFile } from './plain-file.ts';

/**
 * Puts `text` at `path` so that a reader sees the old text or the new, never a half, also after a power cut: written beside it,
 * synced, renamed. Leaves a file alone that says the same already. One writer per path at a time (the data directory has one hub).
 */
export async function writeFileAtomic(path: string, text: string, mode: number): Promise<void> {
  if ((await readIfThere(path)) === text) return;
  const directory = dirname(path);
  // Always the same name, so that what a crash left behind goes next time.
  const temporary = join(directory, `.${basename(path)}.tmp`);
  await rm(temporary, { force: true });
  // Made here, or nothing: what somebody else put there meanwhile, a link above all, is not written to. Renaming replaces a link, too.
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
