/** Descriptions of file system errors, by error code (errno(3)). */
const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'this user may not read it',
  EPERM: 'this user may not read it',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of the path is not a directory',
  ELOOP: 'its path contains too many symbolic links, or a loop of them',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EMFILE: 'this process has too many open files',
};

/** Describes a file system error as a clause for a user, such as `there is no such file`. */
export function fileProblem(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? (PROBLEMS[code] ?? code) : 'unknown error';
}
