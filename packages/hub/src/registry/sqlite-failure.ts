import { CulvertError } from '@culvert/protocol';
import { isDamaged, resultCode, SQLITE, sqliteProblem } from '../observe/sqlite-problem.ts';

/** Whether somebody else holds the lock that was wanted. */
export function isLocked(error: unknown): boolean {
  const code = resultCode(error);
  return code === SQLITE.BUSY || code === SQLITE.LOCKED;
}

/** An error of ours as it is; anything SQLite threw while the hub runs as `internal`, in words. */
export function runningFailure(error: unknown): CulvertError {
  return CulvertError.from(error, 'internal', `The registry failed: ${sqliteProblem(error)}.`);
}

/** An error of ours as it is; anything SQLite threw at start as `config_invalid`, with what the operator can do. */
export function startFailure(error: unknown, file: string): CulvertError {
  const todo = isDamaged(error)
    ? 'Restore it from a backup, or move it away to begin with an empty registry.'
    : isLocked(error)
      ? 'End that program, then start the hub again.'
      : 'See to the disk and to the permissions of the data directory, then start the hub again.';
  const text = `The registry ${file} cannot be used: ${sqliteProblem(error)}. ${todo}`;
  return CulvertError.from(error, 'config_invalid', text);
}
