import {
  ERRORS,
  type ErrorCode,
  type LogCategory,
  type LogOperation,
  type LogRecordLevel,
  printable,
  type ResourceLogRecord,
} from '@culvert/protocol';

/** Maximum characters kept of a text from a client; the reason in a device's answer has at most 512 bytes. */
const MAX_TEXT = 1_024;

/** The properties of a record. A property whose value is undefined is not written. */
export type LogProperties = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** The content of a log record before it is formatted. */
export interface LogEntry {
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly category: LogCategory;
  readonly operation: LogOperation;
  readonly level: LogRecordLevel;
  readonly error: ErrorCode | undefined;
  readonly durationMs: number | undefined;
  readonly deviceId: string | undefined;
  readonly moduleId: string | undefined;
  readonly streamId: string | undefined;
  /** The caller's `traceparent` header, for OTLP. */
  readonly traceParent: string | undefined;
  /** Azure's properties first, in its order. */
  readonly properties: LogProperties;
}

/** A formatted entry with its position in the log: the form that the store keeps, subscribers receive and diagnostic settings send. */
export interface LogRecord extends LogEntry {
  /** The number of the record in this process, so that two records of the same millisecond have different ids. */
  readonly sequence: number;
  /** The {@link ResourceLogRecord} as JSON, on one line. */
  readonly json: string;
}

/** The fields that are the same in all records of a hub. */
export interface LogResource {
  readonly resourceId: string;
  readonly location: string;
}

/** Formats an entry. Control characters in text from clients are escaped, so that it is safe to print in a terminal. */
export function logRecord(entry: LogEntry, sequence: number, resource: LogResource): LogRecord {
  const [number, name] = entry.error === undefined ? ['', ''] : ERRORS[entry.error].azure;
  const properties = Object.entries(entry.properties).map(([key, value]) => [
    key,
    typeof value === 'string' ? printable(value, MAX_TEXT) : value,
  ]);
  const record: ResourceLogRecord = {
    time: new Date(entry.time).toISOString(),
    resourceId: resource.resourceId,
    operationName: entry.operation,
    category: entry.category,
    resultType: String(number),
    resultDescription: name,
    level: entry.level,
    durationMs: entry.durationMs === undefined ? '' : String(Math.round(entry.durationMs)),
    properties: JSON.stringify(Object.fromEntries(properties)),
    location: resource.location,
  };
  return { ...entry, sequence, json: JSON.stringify(record) };
}

/** A record's position in the log, `TIME-SEQUENCE`; event streams send it as the event id. */
export function recordId({ time, sequence }: Pick<LogRecord, 'time' | 'sequence'>): string {
  return `${time}-${sequence}`;
}

/** Parses a {@link recordId}; undefined when it is malformed. */
export function parseRecordId(text: string): { time: number; sequence: number } | undefined {
  const [, time, sequence] = /^(\d{1,16})-(\d{1,16})$/.exec(text) ?? [];
  return time === undefined || sequence === undefined ? undefined : { time: Number(time), sequence: Number(sequence) };
}
