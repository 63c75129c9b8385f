import {
  ERRORS,
  type ErrorCode,
  type LogCategory,
  type LogOperation,
  type LogRecordLevel,
  printable,
  type ResourceLogRecord,
} from '@culvert/protocol';

/** Characters of a text from outside that a record keeps; a device's reason has at most 512 bytes. */
const MAX_TEXT = 1_024;

/** What a property of a record may hold; those that are undefined are left out. */
export type LogProperties = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** Something that happened, as the resource log tells it, before it gets its form. */
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
  /** The caller's `traceparent`, for OTLP. */
  readonly traceParent: string | undefined;
  /** The preview's first, in its order. */
  readonly properties: LogProperties;
}

/** An entry that has its place in the log and its form: what the store keeps, followers see and diagnostic settings send. */
export interface LogRecord extends LogEntry {
  /** Counts the records of this process, so that two of one millisecond are told apart. */
  readonly sequence: number;
  /** The {@link ResourceLogRecord} as JSON, on one line. */
  readonly json: string;
}

/** What is the same in all records of a hub. */
export interface LogResource {
  readonly resourceId: string;
  readonly location: string;
}

/** Gives an entry its form. What came from outside is made harmless for a terminal. */
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

/** Where a record stands in the log: `TIME-SEQUENCE`, which follow streams give as event id. */
export function recordId({ time, sequence }: Pick<LogRecord, 'time' | 'sequence'>): string {
  return `${time}-${sequence}`;
}

/** The reverse of {@link recordId}; undefined when it is none. */
export function parseRecordId(text: string): { time: number; sequence: number } | undefined {
  const [, time, sequence] = /^(\d{1,16})-(\d{1,16})$/.exec(text) ?? [];
  return time === undefined || sequence === undefined ? undefined : { time: Number(time), sequence: Number(sequence) };
}
