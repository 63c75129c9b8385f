import type { ErrorCode, LogCategory, LogOperation } from '@culvert/protocol';
import type { LogEntry } from '../resource-log/log-entry.ts';

/** Which results are wanted: what went well, what did not, one of the preview's numbers, or one code of ours. */
export type WantedResult =
  | { readonly kind: 'ok' }
  | { readonly kind: 'failed' }
  | { readonly kind: 'number'; readonly number: string }
  | { readonly kind: 'code'; readonly code: ErrorCode; readonly number: string };

/** Which records are wanted; what is undefined does not matter. */
export interface LogFilter {
  readonly deviceId?: string | undefined;
  /** `null`: the device itself, none of its modules. */
  readonly moduleId?: string | null | undefined;
  readonly streamId?: string | undefined;
  readonly category?: LogCategory | undefined;
  readonly operation?: LogOperation | undefined;
  readonly result?: WantedResult | undefined;
  /** Milliseconds since the epoch, inclusive. */
  readonly since?: number | undefined;
  /** Milliseconds since the epoch, exclusive. */
  readonly until?: number | undefined;
}

/** The last record of a page: where the next one goes on. */
export interface LogCursor {
  /** Name of the part. */
  readonly part: string;
  readonly time: number;
  readonly row: number;
}

/** One page of records. */
export interface LogQuery extends LogFilter {
  readonly order: 'newest' | 'oldest';
  readonly top: number;
  readonly after?: LogCursor | undefined;
}

/** A record as it is stored. */
export interface StoredRecord {
  readonly time: number;
  readonly sequence: number;
  readonly json: string;
}

export interface LogPage {
  readonly records: readonly StoredRecord[];
  /** Absent: there are no more. */
  readonly next?: LogCursor | undefined;
}

/** Whether an entry that was just made is one of those wanted; the same question that {@link logStatement} asks of a part. */
export function matches(filter: LogFilter, entry: LogEntry, number: string): boolean {
  const { result } = filter;
  return (
    (filter.deviceId ?? entry.deviceId) === entry.deviceId &&
    (filter.moduleId === undefined || (filter.moduleId ?? undefined) === entry.moduleId) &&
    (filter.streamId ?? entry.streamId) === entry.streamId &&
    (filter.category ?? entry.category) === entry.category &&
    (filter.operation ?? entry.operation) === entry.operation &&
    (filter.since === undefined || entry.time >= filter.since) &&
    (filter.until === undefined || entry.time < filter.until) &&
    (result === undefined || resultMatches(result, entry.error, number))
  );
}

function resultMatches(wanted: WantedResult, error: ErrorCode | undefined, number: string): boolean {
  switch (wanted.kind) {
    case 'ok':
      return error === undefined;
    case 'failed':
      return error !== undefined;
    case 'number':
      return number === wanted.number;
    case 'code':
      return error === wanted.code;
  }
}
