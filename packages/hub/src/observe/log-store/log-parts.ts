import { chmodSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isDamaged } from '../sqlite-problem.ts';
import type { LogRetention, LogRow } from './log-calls.ts';
import { LogPart } from './log-part.ts';
import type { LogCursor, LogPage, LogQuery, StoredRecord } from './log-query.ts';
import { logStatement, PART_VERSION } from './log-statement.ts';

const DAY_MS = 86_400_000;

/** A part holds at most `maxBytes` divided by this number, so deleting the oldest part deletes at most that share of the log. */
const PARTS_AT_LEAST = 16;

/** The file name of a part, `YYYY-MM-DD.NNN.db`: alphabetical order is chronological order. */
const PART_NAME = /^(\d{4}-\d{2}-\d{2})\.(\d{3})\.db$/;

/** The log on disk: a directory of daily parts. Records are written to the last part and read from all parts. */
export class LogParts {
  readonly #directory: string;
  readonly #retention: LogRetention;
  #writing: { readonly name: string; readonly part: LogPart } | undefined;

  constructor(directory: string, retention: LogRetention) {
    this.#directory = directory;
    this.#retention = retention;
  }

  /** Writes all rows, or none of them, into the part of the day of `now`. */
  append(rows: readonly LogRow[], now: number): void {
    try {
      this.#partFor(now).append(rows);
    } catch (error) {
      // A failed write may have left the file in any state: close it, to be reopened by the next write. If it is damaged, start a new part.
      const damaged = this.#writing?.name;
      this.#stopWriting();
      if (!isDamaged(error) || damaged === undefined) throw error;
      this.#open(this.#after(damaged, now), now).append(rows);
    }
  }

  /** Reads one page, from as many parts as needed. */
  query(query: LogQuery): LogPage {
    const names = this.#namesFor(query);
    const records: StoredRecord[] = [];
    for (const name of names) {
      const after = query.after?.part === name ? query.after : undefined;
      const rows = this.#read(name, query, query.top - records.length, after);
      records.push(...rows.map(({ time, sequence, json }) => ({ time, sequence, json })));
      const last = rows.at(-1);
      if (records.length === query.top && last !== undefined) {
        return { records, next: { part: name, time: last.time, row: last.id } };
      }
    }
    return { records };
  }

  /** Deletes parts past retention, then the oldest until the total fits `maxBytes`. */
  tidy(now: number): void {
    const oldest = dayOf(now - this.#retention.days * DAY_MS);
    const names = this.#names();
    const room = this.#retention.maxBytes - this.#partBytes();
    let total = names.reduce((sum, name) => sum + this.#bytesOf(name), 0);
    for (const name of names) {
      if (name.slice(0, 10) >= oldest && total <= room) return;
      if (name === this.#writing?.name) {
        if (name.slice(0, 10) >= oldest) return;
        this.#stopWriting();
      }
      total -= this.#bytesOf(name);
      for (const suffix of ['', '-wal', '-shm']) rmSync(join(this.#directory, name + suffix), { force: true });
    }
  }

  close(): void {
    this.#stopWriting();
  }

  #partFor(now: number): LogPart {
    const writing = this.#writing;
    if (writing !== undefined && writing.name.slice(0, 10) >= dayOf(now) && writing.part.bytes < this.#partBytes()) {
      return writing.part;
    }
    this.#stopWriting();
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    chmodSync(this.#directory, 0o700);
    const last = this.#names().at(-1);
    const usable = last !== undefined && last.slice(0, 10) >= dayOf(now) && this.#bytesOf(last) < this.#partBytes();
    return this.#open(usable ? last : this.#after(last, now), now);
  }

  #open(name: string, now: number): LogPart {
    const part = LogPart.open(join(this.#directory, name));
    if (part === undefined) return this.#open(this.#after(name, now), now);
    this.#writing = { name, part };
    this.tidy(now);
    return part;
  }

  /** The name of the part after `last`. Part names stay in order even if the clock was set back. */
  #after(last: string | undefined, now: number): string {
    const today = dayOf(now);
    const [, day, number] = PART_NAME.exec(last ?? '') ?? [];
    if (day === undefined || day < today) return `${today}.000.db`;
    const next = Number(number) + 1;
    if (next > 999) throw new Error(`the log of ${day} has a thousand parts already`);
    return `${day}.${String(next).padStart(3, '0')}.db`;
  }

  #stopWriting(): void {
    const { part } = this.#writing ?? {};
    this.#writing = undefined;
    part?.close();
  }

  #partBytes(): number {
    return Math.floor(this.#retention.maxBytes / PARTS_AT_LEAST);
  }

  #names(): string[] {
    try {
      return readdirSync(this.#directory)
        .filter((name) => PART_NAME.test(name))
        .sort();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  /** The parts that can contain matching records, in query order. After the clock was set back, a record can be in the part of a later day. */
  #namesFor({ order, since, until, after }: LogQuery): string[] {
    const first = since === undefined ? '' : dayOf(since);
    const last = until === undefined ? '9' : dayOf(until + DAY_MS);
    const names = this.#names().filter((name) => name.slice(0, 10) >= first && name.slice(0, 10) <= last);
    if (order === 'newest') names.reverse();
    if (after === undefined) return names;
    return names.filter((name) => (order === 'newest' ? name <= after.part : name >= after.part));
  }

  #read(name: string, query: LogQuery, limit: number, after: LogCursor | undefined): PartRow[] {
    const { sql, parameters } = logStatement(query, limit, after);
    const file = join(this.#directory, name);
    let database: DatabaseSync | undefined;
    try {
      database = new DatabaseSync(file, { readOnly: true });
      const version = database.prepare('PRAGMA user_version').get()?.['user_version'];
      // A hub that died while creating the part left it empty.
      if (version === 0) return [];
      if (version !== PART_VERSION) throw new Error(`the part ${file} is of a later version of Culvert: move it away`);
      return database.prepare(sql).all(...parameters) as PartRow[];
    } catch (error) {
      if (!isDamaged(error)) throw error;
      throw new Error(`the part ${file} is damaged: move it away`);
    } finally {
      database?.close();
    }
  }

  #bytesOf(name: string): number {
    let bytes = 0;
    for (const suffix of ['', '-wal']) {
      bytes += statSync(join(this.#directory, name + suffix), { throwIfNoEntry: false })?.size ?? 0;
    }
    return bytes;
  }
}

type PartRow = { id: number; time: number; sequence: number; json: string };

function dayOf(time: number): string {
  return new Date(Math.max(0, Math.min(time, 8.64e15))).toISOString().slice(0, 10);
}
