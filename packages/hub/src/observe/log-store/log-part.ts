import { chmodSync, closeSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { LogRow } from './log-calls.ts';
import { INSERT, PART_SCHEMA, PART_VERSION } from './log-statement.ts';

/** Milliseconds to wait for another program that reads the part, such as a backup that holds it locked. */
const BUSY_MS = 1_000;

/** The part that is being written. */
export class LogPart {
  readonly #database: DatabaseSync;
  readonly #insert: StatementSync;

  private constructor(database: DatabaseSync) {
    this.#database = database;
    this.#insert = database.prepare(INSERT);
  }

  /**
   * Opens a part for writing, or creates it with mode 0600 if missing. Returns undefined if a later version wrote the part.
   *
   * WAL with `synchronous=NORMAL`: a commit is not synced to the disk. If the hub dies, no written record is lost; a power cut can lose the last
   * seconds of the log, never the whole part. Unlike the registry, the log does not promise that a record is on disk.
   */
  static open(file: string): LogPart | undefined {
    privateFile(file);
    const database = new DatabaseSync(file, { timeout: BUSY_MS });
    try {
      database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 4194304');
      const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
      if (version === 0) database.exec(`BEGIN IMMEDIATE; ${PART_SCHEMA} COMMIT`);
      else if (version !== PART_VERSION) {
        database.close();
        return undefined;
      }
      return new LogPart(database);
    } catch (error) {
      if (database.isOpen) database.close();
      throw error;
    }
  }

  /** Bytes of the database, without its write-ahead log. */
  get bytes(): number {
    const pages = Number(this.#database.prepare('PRAGMA page_count').get()?.['page_count']);
    return pages * Number(this.#database.prepare('PRAGMA page_size').get()?.['page_size']);
  }

  /** Writes all rows, or none of them. */
  append(rows: readonly LogRow[]): void {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      for (const row of rows) this.#insert.run(...row);
      this.#database.exec('COMMIT');
    } catch (error) {
      // SQLite itself rolls back after some failures (disk full, I/O).
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  close(): void {
    this.#database.close();
  }
}

/** Creates the file with mode 0600 before SQLite does: SQLite gives -wal and -shm the permissions of the database. */
function privateFile(file: string): void {
  try {
    closeSync(openSync(file, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    chmodSync(file, 0o600);
  }
}
