import { chmodSync, closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { CulvertError } from '@culvert/protocol';
import { migrate } from './schema.ts';
import { isLocked, startupError } from './sqlite-failure.ts';

/** Milliseconds to wait for another program that locks the registry, for example while it copies the registry for a backup. */
const BUSY_MS = 1_000;

/** Maximum bytes of the write-ahead log file after a checkpoint. During a long backup, the file can be much larger. */
const WAL_BYTES = 64 * 1024 * 1024;

/** The open registry database. Until `close()`, a lock on the data directory prevents a second hub from using it. */
export interface OpenDatabase {
  readonly database: DatabaseSync;
  close(): void;
}

/**
 * Locks the data directory and opens `registry.db` in it. On first start, creates the database.
 * @throws CulvertError `config_invalid`; its message says what the operator can do
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
 * Locks the data directory for this hub, by an exclusive transaction on a separate database file. The operating system releases the lock when the
 * process ends, even after a crash. The registry itself stays readable for a backup.
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

/** Creates the file with mode 0600 before SQLite opens it. SQLite gives the -wal and -shm files the mode of the database file. */
function privateFile(file: string): void {
  try {
    // An existing file is never opened here: closing it would release the POSIX locks that this process holds on it.
    closeSync(openSync(file, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      const why = (error as NodeJS.ErrnoException).code ?? 'unknown error';
      throw new CulvertError(
        'config_invalid',
        `${file} cannot be created (${why}): the data directory must be writable.`,
        {
          cause: error,
        },
      );
    }
    chmodSync(file, 0o600);
  }
}
