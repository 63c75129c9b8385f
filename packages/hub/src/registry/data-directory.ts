import { accessSync, chmodSync, constants, existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { CulvertError } from '@culvert/protocol';

/**
 * Makes the hub's data directory where it is missing and sees to it that only its owner may look inside (0700): it holds keys.
 * @throws CulvertError `config_invalid` when it cannot be made, is no directory, belongs to somebody else or cannot be written
 */
export function openDataDirectory(directory: string): void {
  try {
    for (const missing of missingDirectories(directory)) makeDirectory(missing);
    const found = statSync(directory);
    if (!found.isDirectory()) throw new CulvertError('config_invalid', `${directory} is not a directory.`);
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
    // Another process may have been faster; whether it is a directory is looked at afterwards.
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
