import { accessSync, chmodSync, constants, mkdirSync, statSync } from 'node:fs';
import { CulvertError } from '@culvert/protocol';

/**
 * Makes the hub's data directory where it is missing and sees to it that only its owner may look inside (0700): it holds keys.
 * @throws CulvertError `config_invalid` when it cannot be made, is no directory, belongs to somebody else or cannot be written
 */
export function openDataDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
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

function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'EACCES' || code === 'EROFS') return 'it is not writable';
  if (code === 'EPERM') return 'it belongs to another user';
  if (code === 'ENOSPC') return 'the disk is full';
  if (code === 'ENOTDIR' || code === 'EEXIST') return 'a file is in its way';
  return code ?? 'unknown error';
}
