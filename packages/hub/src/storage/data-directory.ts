import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  type Stats,
  statSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { CulvertError } from '@culvert/protocol';

/**
 * Makes the hub's data directory, or one below it, where it is missing and sees to it that only its owner may look inside (0700): it holds keys.
 * What is in it must be this user's, or root's, and no symbolic link: who could put files there before could otherwise choose the hub's keys,
 * or have the hub write elsewhere.
 * @param user the process's; undefined where the system has none, and then owners are not compared
 * @throws CulvertError `config_invalid` when it cannot be made, is no directory, holds what is somebody else's or cannot be written
 */
export function openDataDirectory(directory: string, user: number | undefined = process.geteuid?.()): void {
  try {
    for (const missing of missingDirectories(directory)) makeDirectory(missing);
    const found = statSync(directory);
    if (!found.isDirectory()) throw new CulvertError('config_invalid', `${directory} is not a directory.`);
    if (user !== undefined && found.uid !== user)
      throw foreign(`The data directory ${directory}`, directory, found, user);
    assertOwn(directory, user);
    if ((found.mode & 0o777) !== 0o700) chmodSync(directory, 0o700);
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw CulvertError.from(
      error,
      'config_invalid',
      `The data directory ${directory} cannot be used (${reason(error)}): name one that this user owns and can write to.`,
    );
  }
}

/** Looks at everything below a directory of this user's. A link in the place of the directory itself is the operator's choice. */
function assertOwn(directory: string, user: number | undefined): void {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    const found = lstatIfThere(path);
    if (found === undefined) continue;
    if (found.isSymbolicLink()) {
      const text = `${path} is a symbolic link, which a hub does not follow in its data directory: put what it leads to in its place.`;
      throw new CulvertError('config_invalid', text);
    }
    // What is root's, such as the `lost+found` of a disk, nobody can have put there who could not do anything anyway.
    if (user !== undefined && found.uid !== user && found.uid !== 0) throw foreign(path, directory, found, user);
    if (found.isDirectory() && (user === undefined || found.uid === user)) assertOwn(path, user);
  }
}

function foreign(what: string, directory: string, { uid }: Stats, user: number): CulvertError {
  return new CulvertError(
    'config_invalid',
    `${what} belongs to user ${uid}, and this process is user ${user}: run the hub as that user, name another data directory, or, if nobody else has written to it, run: chown -R ${user} ${directory}`,
  );
}

/** SQLite's own files come and go. */
function lstatIfThere(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/**
 * What has to be made, outermost first. Node's own recursive `mkdir` never returns where the parent is there and making a child fails
 * with ENOENT nevertheless, as below `/proc`.
 */
function missingDirectories(directory: string): readonly string[] {
  const missing: string[] = [];
  // The root is always there, so this ends.
  for (let path = resolve(directory); !existsSync(path); path = dirname(path)) missing.unshift(path);
  return missing;
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another process may have been faster; the check that it is a directory follows.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'EACCES' || code === 'EROFS') return 'it is not writable';
  if (code === 'EPERM') return 'it belongs to another user';
  if (code === 'ENOENT') return 'nothing can be made there';
  if (code === 'ENOSPC') return 'the disk is full';
  if (code === 'ENOTDIR' || code === 'EEXIST') return 'a file is in its way';
  return code ?? 'unknown error';
}
