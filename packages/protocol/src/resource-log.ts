/** The categories of the resource log, as in Azure: streams and control channels. */
export const LOG_CATEGORIES = ['DeviceStreams', 'Connections'] as const;
export type LogCategory = (typeof LOG_CATEGORIES)[number];

/**
 * The operations that are logged. `invoke` (a handshake has ended), `deviceConnect` and `deviceDisconnect` are Azure's; `streamClose` (an
 * established stream has ended), `connectionClose` (an end of a session claims that a connection in it was closed), `offersUnanswered` and `connectionRefused` are Culvert extensions.
 */
export const LOG_OPERATIONS = [
  'invoke',
  'streamClose',
  'connectionClose',
  'deviceConnect',
  'deviceDisconnect',
  'offersUnanswered',
  'connectionRefused',
] as const;
export type LogOperation = (typeof LOG_OPERATIONS)[number];

/** `Error`: the operation failed. `Warning`: the operation did not end normally. */
export type LogRecordLevel = 'Information' | 'Warning' | 'Error';

/** One record of the resource log, in Azure's format (Azure's monitor reference). docs/operating/logs.md lists every field. */
export interface ResourceLogRecord {
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly resourceId: string;
  readonly operationName: LogOperation;
  readonly category: LogCategory;
  /** Azure's six-digit error code; empty on success. */
  readonly resultType: string;
  /** The name of the error code; empty on success. */
  readonly resultDescription: string;
  readonly level: LogRecordLevel;
  /** Whole milliseconds as decimal digits; empty for operations without a duration. */
  readonly durationMs: string;
  /** A JSON object as text, as in Azure's format. */
  readonly properties: string;
  readonly location: string;
}

/** Maximum records in one response of `GET /logs`. */
export const MAX_LOG_PAGE = 1_000;
