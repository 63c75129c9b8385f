import { constants } from 'node:fs';
import { lstat, mkdir, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { CulvertError } from '@culvert/protocol';
import { type Clock, fileProblem } from '@culvert/stream';
import { withFileLock } from './file-lock.ts';

/**
 * The text of a file; undefined when there is no such file.
 * @param maxBytes a longer file is refused
 * @throws CulvertError `config_invalid`, in one line
 */
export async function readTextFile(path: string, maxBytes: number): Promise<string | undefined> {
  try {
    const { size } = await stat(path);
    if (size > maxBytes) throw new CulvertError('config_invalid', `${path} is larger than ${maxBytes} bytes.`);
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw CulvertError.from(error, 'config_invalid', `Cannot read ${path}: ${fileProblem(error)}.`);
  }
}

/**
 * Changes a file that only its owner may read (0600, in a directory that is created with 0700): `change` receives the text, or undefined when there is no file,
 * and returns the new text, or undefined to leave the file as it is. Other programs that use this function wait; a reader gets either the whole old or the
 * whole new text, even after a power failure. A symbolic link is followed, so that it stays one.
 * @throws CulvertError what `change` throws; `config_invalid` for problems of the file system, in one line
 */
export async function updatePrivateFile(
  path: string,
  { maxBytes, clock }: { readonly maxBytes: number; readonly clock: Clock },
  change: (text: string | undefined) => string | undefined,
): Promise<void> {
  try {
    await makePrivateDirectory(dirname(resolve(path)));
    const target = await followLink(path);
    await withFileLock(target, clock, async (lock) => {
      const text = change(await readTextFile(target, maxBytes));
      if (text !== undefined) await replaceFile(target, text, () => lock.assertHeld());
    });
  } catch (error) {
    throw CulvertError.from(error, 'config_invalid', `Cannot write ${path}: ${fileProblem(error)}.`);
  }
}

/** The file that a link leads to; the path itself when there is no link or no file yet. */
async function followLink(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return resolve(path);
  }
}

/**
 * Makes a directory (0700), and those above it, where they do not exist. Not Node's own recursive `mkdir`: that never returns when the parent exists and the creation of a child still fails with ENOENT, as below `/proc`.
 */
export async function makePrivateDirectory(directory: string): Promise<void> {
  if (await exists(directory)) return;
  await makePrivateDirectory(dirname(directory));
  try {
    await mkdir(directory, { mode: 0o700 });
  } catch (error) {
    // Another program may have created it meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function replaceFile(path: string, text: string, beforeRename: () => Promise<void>): Promise<void> {
  const directory = dirname(path);
  // Always the same name, so that the next write removes a file that a crash has left. The lock keeps other programs away.
  const temporary = join(directory, `.${basename(path)}.tmp`);
  await rm(temporary, { force: true });
  // O_EXCL creates the file or fails, so that nothing is written to a file or link that another user has created there.
  await using file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  await file.writeFile(text);
  await file.sync();
  await beforeRename();
  await rename(temporary, path);
  if (process.platform === 'win32') return;
  await using parent = await open(directory, 'r');
  await parent.sync();
}
