import { CulvertError } from '@culvert/protocol';

/** SQLite's primary result codes (sqlite.org/rescode.html) that an operator can do something about. */
const SQLITE = { PERM: 3, BUSY: 5, LOCKED: 6, READONLY: 8, IOERR: 10, CORRUPT: 11, FULL: 13, CANTOPEN: 14, NOTADB: 26 };

/** The primary result code of an error thrown by `node:sqlite`; undefined for any other error. */
function resultCode(error: unknown): number | undefined {
  const errcode = (error as { errcode?: unknown } | null)?.errcode;
  // The low byte of an extended code is its primary code.
  return typeof errcode === 'number' ? errcode & 0xff : undefined;
}

/** Whether somebody else holds the lock that was wanted. */
export function isLocked(error: unknown): boolean {
  const code = resultCode(error);
  return code === SQLITE.BUSY || code === SQLITE.LOCKED;
}

/** Why SQLite failed, as a clause for a person. */
function clause(error: unknown): string {
  switch (resultCode(error)) {
    case SQLITE.FULL:
      return 'the disk is full';
    case SQLITE.PERM:
    case SQLITE.READONLY:
    case SQLITE.CANTOPEN:
      return 'its file cannot be opened for writing';
    case SQLITE.BUSY:
    case SQLITE.LOCKED:
      return 'another program holds it locked';
    case SQLITE.CORRUPT:
    case SQLITE.NOTADB:
      return 'its file is damaged';
    case SQLITE.IOERR:
      return 'the disk reported an error or is full';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

/** An error of ours as it is; anything SQLite threw while the hub runs as `internal`, in words. */
export function runningFailure(error: unknown): CulvertError {
  return CulvertError.from(error, 'internal', `The registry failed: ${clause(error)}.`);
}

/** An error of ours as it is; anything SQLite threw at start as `config_invalid`, with what the operator can do. */
export function startFailure(error: unknown, file: string): CulvertError {
  const code = resultCode(error);
  const todo =
    code === SQLITE.CORRUPT || code === SQLITE.NOTADB
      ? 'Restore it from a backup, or move it away to begin with an empty registry.'
      : code === SQLITE.BUSY || code === SQLITE.LOCKED
        ? 'End that program, then start the hub again.'
        : 'See to the disk and to the permissions of the data directory, then start the hub again.';
  return CulvertError.from(error, 'config_invalid', `The registry ${file} cannot be used: ${clause(error)}. ${todo}`);
}
