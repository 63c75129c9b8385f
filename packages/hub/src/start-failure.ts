import { CulvertError } from '@culvert/protocol';

/** Why the file system refused, by its code (errno(3)), as a clause for a person. */
const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the disk is read-only',
  EACCES: 'this user may not',
  EPERM: 'it belongs to another user',
  EISDIR: 'a directory is in its way',
  EEXIST: 'a file is in its way',
  ENOTDIR: 'a file is in its way',
};

/**
 * What the file system refused while the hub started as `config_invalid`, one line that says what to do; every other error as it is.
 * @param dataDir named where the error itself names no path, as when a write fails
 */
export function startFailure(error: unknown, dataDir: string): unknown {
  if (error instanceof CulvertError || !(error instanceof Error) || !('syscall' in error)) return error;
  const { code = '', path = dataDir } = error as NodeJS.ErrnoException;
  return new CulvertError(
    'config_invalid',
    `${path} cannot be used (${REASONS[code] ?? code}): see to the disk and to the data directory ${dataDir}, then start the hub again.`,
    { cause: error },
  );
}
