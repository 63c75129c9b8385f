/** The categories of the resource log: the preview's own for streams, and its sibling for control channels. */
export const LOG_CATEGORIES = ['DeviceStreams', 'Connections'] as const;
export type LogCategory = (typeof LOG_CATEGORIES)[number];

/**
 * What happened. `invoke` (a handshake is over), `deviceConnect` and `deviceDisconnect` are the preview's; `streamClose` (a stream that was
 * joined is over), `offersUnanswered` and `connectionRefused` are ours.
 */
export const LOG_OPERATIONS = [
  'invoke',
  'streamClose',
  'deviceConnect',
  'deviceDisconnect',
  'offersUnanswered',
  'connectionRefused',
] as const;
export type LogOperation = (typeof LOG_OPERATIONS)[number];

/** `Error`: what was asked for did not come about. `Warning`: it ended otherwise than politely. */
export type LogRecordLevel = 'Information' | 'Warning' | 'Error';

/** One record of the resource log, in the preview's shape (its monitor reference; docs/operating/logs.md lists every field). */
export interface ResourceLogRecord {
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly resourceId: string;
  readonly operationName: LogOperation;
  readonly category: LogCategory;
  /** The preview's six-digit code of the error table; empty when nothing went wrong. */
  readonly resultType: string;
  /** The name of that code; empty when nothing went wrong. */
  readonly resultDescription: string;
  readonly level: LogRecordLevel;
  /** Whole milliseconds, in digits; empty where nothing lasted. */
  readonly durationMs: string;
  /** A JSON object as text, as in the preview. */
  readonly properties: string;
  readonly location: string;
}

/** The most records in one answer of `GET /logs`. */
export const MAX_LOG_PAGE = 1_000;
