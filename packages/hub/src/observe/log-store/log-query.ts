import type { ErrorCode, LogCategory, LogOperation } from '@culvert/protocol';
import type { LogEntry } from '../resource-log/log-entry.ts';

/** Which results match: successes, failures, one Azure error number, or one Culvert error code. */
export type WantedResult =
  | { readonly kind: 'ok' }
  | { readonly kind: 'failed' }
  | { readonly kind: 'number'; readonly number: string }
  | { readonly kind: 'code'; readonly code: ErrorCode; readonly number: string };

/** A filter for records; undefined fields match everything. */
export interface LogFilter {
  readonly deviceId?: string | undefined;
  /** `null` matches the device itself and none of its modules. */
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

/** The position of the last record of a page; the next page continues there. */
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
  /** Absent on the last page. */
  readonly next?: LogCursor | undefined;
}

/** Whether a new entry matches the filter; must agree with {@link logStatement}. */
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
