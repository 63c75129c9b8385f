import type { LogCursor, LogQuery } from './log-query.ts';

/** The schema of a part. The writer does not change a part of another version. */
export const PART_VERSION = 1;

/**
 * The schema of one part: the record as JSON, and the columns that queries search. Each index ends with the time, and SQLite adds the row
 * number, so that a page is read from an index in order, without sorting. The partial indexes contain only the rows that their queries select.
 */
export const PART_SCHEMA = `
  CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    category TEXT NOT NULL,
    operation TEXT NOT NULL,
    device TEXT,
    module TEXT,
    stream TEXT,
    result TEXT NOT NULL,
    error TEXT NOT NULL,
    json TEXT NOT NULL
  ) STRICT;
  CREATE INDEX by_time ON record (time);
  CREATE INDEX by_device ON record (device, time) WHERE device IS NOT NULL;
  CREATE INDEX by_stream ON record (stream, time) WHERE stream IS NOT NULL;
  CREATE INDEX by_category ON record (category, time);
  CREATE INDEX by_result ON record (result, time);
  CREATE INDEX by_failure ON record (time) WHERE result <> '';
  CREATE INDEX by_disconnect ON record (device, time) WHERE operation = 'deviceDisconnect' AND device IS NOT NULL;
  PRAGMA user_version = ${PART_VERSION};`;

export const INSERT = `INSERT INTO record (time, sequence, category, operation, device, module, stream, result, error, json)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

/** SQL and its parameters, for one part. */
export interface LogStatement {
  readonly sql: string;
  readonly parameters: readonly (string | number)[];
}

/**
 * Builds the query for one part. The index is named explicitly: without statistics SQLite might scan a whole category instead of one device.
 * @param after where to continue, when the previous page ended in this part
 */
export function logStatement(query: LogQuery, limit: number, after: LogCursor | undefined): LogStatement {
  const conditions: string[] = [];
  const parameters: (string | number)[] = [];
  const add = (condition: string, ...values: (string | number)[]): void => {
    conditions.push(condition);
    parameters.push(...values);
  };
  const { deviceId, moduleId, streamId, category, operation, result, since, until } = query;
  if (streamId !== undefined) add('stream = ?', streamId);
  if (deviceId !== undefined) add('device = ?', deviceId);
  if (moduleId === null) add('module IS NULL');
  else if (moduleId !== undefined) add('module = ?', moduleId);
  if (category !== undefined) add('category = ?', category);
  // SQLite uses the partial index only for a literal. That is safe, because the operation is from a closed list.
  if (operation !== undefined) add(`operation = '${operation}'`);
  if (result?.kind === 'ok') add("result = ''");
  if (result?.kind === 'failed') add("result <> ''");
  if (result?.kind === 'number' || result?.kind === 'code') add('result = ?', result.number);
  if (result?.kind === 'code') add('error = ?', result.code);
  if (since !== undefined) add('time >= ?', since);
  if (until !== undefined) add('time < ?', until);
  const [before, direction] = query.order === 'newest' ? ['<', 'DESC'] : ['>', 'ASC'];
  if (after !== undefined) add(`(time, id) ${before} (?, ?)`, after.time, after.row);
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`;
  const sql = `SELECT id, time, sequence, json FROM record INDEXED BY ${indexFor(query)}${where} ORDER BY time ${direction}, id ${direction} LIMIT ?`;
  return { sql, parameters: [...parameters, limit] };
}

/** Selects the index with the fewest rows to read: a stream has three records, a device thousands, a category half of all. */
function indexFor({ streamId, deviceId, operation, result, category }: LogQuery): string {
  if (streamId !== undefined) return 'by_stream';
  if (deviceId !== undefined) return operation === 'deviceDisconnect' ? 'by_disconnect' : 'by_device';
  if (result?.kind === 'failed') return 'by_failure';
  if (result !== undefined && result.kind !== 'ok') return 'by_result';
  if (category !== undefined) return 'by_category';
  return result === undefined ? 'by_time' : 'by_result';
}
