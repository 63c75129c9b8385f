import { CulvertError } from '@culvert/protocol';

/** Descriptions of file system errors by code (errno(3)). */
const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the disk is read-only',
  EACCES: 'this user does not have permission',
  EPERM: 'it belongs to another user',
  EISDIR: 'a directory is in its way',
  EEXIST: 'a file is in its way',
  ENOTDIR: 'a file is in its way',
};

/**
 * Converts a file system error during the start to `config_invalid`, with one line that names the remedy; returns other errors unchanged.
 * @param dataDir the path for the message when the error has none, as for a failed write
 */
export function startupError(error: unknown, dataDir: string): unknown {
  if (error instanceof CulvertError || !(error instanceof Error) || !('syscall' in error)) return error;
  const { code = '', path = dataDir } = error as NodeJS.ErrnoException;
  return new CulvertError(
    'config_invalid',
    `${path} cannot be used (${REASONS[code] ?? code}): check the disk and the data directory ${dataDir}, then start the hub again.`,
    { cause: error },
  );
}
