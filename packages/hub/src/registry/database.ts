import { chmodSync, closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { CulvertError } from '@culvert/protocol';
import { migrate } from './schema.ts';
import { isLocked, startupError } from './sqlite-failure.ts';

/** Milliseconds to wait for another program that holds the registry, such as one that copies it for a backup. */
const BUSY_MS = 1_000;

/** Bytes the write-ahead log keeps on disk after a checkpoint; a long backup can make it much longer meanwhile. */
const WAL_BYTES = 64 * 1024 * 1024;

/** The open registry database, and the lock that keeps a second hub out for as long as this one lives. */
export interface OpenDatabase {
  readonly database: DatabaseSync;
  close(): void;
}

/**
 * Opens `registry.db` in the data directory, making it on first start, after taking the directory's lock.
 * @throws CulvertError `config_invalid` with what the operator can do
 */
export function openDatabase(directory: string): OpenDatabase {
  const lock = lockDirectory(directory);
  const file = join(directory, 'registry.db');
  let database: DatabaseSync | undefined;
  try {
    privateFile(file);
    database = new DatabaseSync(file, { timeout: BUSY_MS });
    database.exec(
      `PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = ${WAL_BYTES}; PRAGMA secure_delete = ON`,
    );
    migrate(database, file);
  } catch (error) {
    database?.close();
    lock.close();
    throw startupError(error, file);
  }
  const opened = database;
  return {
    database: opened,
    close() {
      opened.close();
      lock.close();
    },
  };
}

/**
 * Locks the data directory for this hub: an exclusive transaction on a separate database, which the
 * operating system releases when the process ends, however it ends. The registry itself stays readable for a backup.
 */
function lockDirectory(directory: string): DatabaseSync {
  const file = join(directory, 'hub.lock');
  let lock: DatabaseSync | undefined;
  try {
    privateFile(file);
    lock = new DatabaseSync(file, { timeout: 0 });
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock?.close();
    if (!isLocked(error)) throw startupError(error, file);
    throw new CulvertError(
      'config_invalid',
      `Another hub is running on the data directory ${directory}: stop that one, or give this one a directory of its own.`,
    );
  }
}

/** Creates the file with 0600 before SQLite does: SQLite gives -wal and -shm the permissions of the database. */
function privateFile(file: string): void {
  try {
    // Never opens a file that exists: closing it would drop the POSIX locks this process holds on it.
    closeSync(openSync(file, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      const why = (error as NodeJS.ErrnoException).code ?? 'unknown error';
      throw new CulvertError(
        'config_invalid',
        `${file} cannot be made (${why}): the data directory must be writable.`,
        {
          cause: error,
        },
      );
    }
    chmodSync(file, 0o600);
  }
}
