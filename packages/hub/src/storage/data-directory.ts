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
 * Creates the hub's data directory, or one below it, if it is missing, and makes it accessible only to its owner (0700), since it contains keys. Everything
 * in it must belong to this user or to root, and must not be a symbolic link. Otherwise a user who could create files there earlier could choose the hub's
 * keys, or make the hub write to other places.
 * @param user the user id of the process; undefined where the system has none, in which case owners are not compared
 * @throws CulvertError `config_invalid` when it cannot be created, is not a directory, contains a link or a file of another user, or cannot be written
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

/** Checks everything below a directory that belongs to this user. The directory itself may be a link, which is the operator's choice. */
function assertOwn(directory: string, user: number | undefined): void {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    const found = lstatIfThere(path);
    if (found === undefined) continue;
    if (found.isSymbolicLink()) {
      const text = `${path} is a symbolic link, which a hub does not follow in its data directory: put what it leads to in its place.`;
      throw new CulvertError('config_invalid', text);
    }
    // Files of root, such as the `lost+found` of a disk, are accepted: only root can have created them, and root could do anything anyway.
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

/** Undefined when the file no longer exists: SQLite creates and deletes files of its own. */
function lstatIfThere(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/**
 * The directories that have to be created, outermost first. Node's own recursive `mkdir` is not used: it never returns when the parent exists and the
 * creation of a child still fails with ENOENT, as below `/proc`.
 */
function missingDirectories(directory: string): readonly string[] {
  const missing: string[] = [];
  // The root directory always exists, so the loop ends.
  for (let path = resolve(directory); !existsSync(path); path = dirname(path)) missing.unshift(path);
  return missing;
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another process may have created it meanwhile; the caller checks that it is a directory.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'EACCES' || code === 'EROFS') return 'it is not writable';
  if (code === 'EPERM') return 'it belongs to another user';
  if (code === 'ENOENT') return 'nothing can be created there';
  if (code === 'ENOSPC') return 'the disk is full';
  if (code === 'ENOTDIR' || code === 'EEXIST') return 'a file is in its way';
  return code ?? 'unknown error';
}
