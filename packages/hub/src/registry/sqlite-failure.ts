import { CulvertError } from '@culvert/protocol';
import { isDamaged, resultCode, SQLITE, sqliteProblem } from '../observe/sqlite-problem.ts';

/** Whether another process holds the lock. */
export function isLocked(error: unknown): boolean {
  const code = resultCode(error);
  return code === SQLITE.BUSY || code === SQLITE.LOCKED;
}

/** Returns a CulvertError unchanged; converts an SQLite error at run time to `internal` with a readable message. */
export function runningFailure(error: unknown): CulvertError {
  return CulvertError.from(error, 'internal', `The registry failed: ${sqliteProblem(error)}.`);
}

/** Returns a CulvertError unchanged; converts an SQLite error at start to `config_invalid`, whose message says what the operator can do. */
export function startupError(error: unknown, file: string): CulvertError {
  const todo = isDamaged(error)
    ? 'Restore it from a backup, or move it away to begin with an empty registry.'
    : isLocked(error)
      ? 'End that program, then start the hub again.'
      : 'See to the disk and to the permissions of the data directory, then start the hub again.';
  const text = `The registry ${file} cannot be used: ${sqliteProblem(error)}. ${todo}`;
  return CulvertError.from(error, 'config_invalid', text);
}
