import type { ErrorRow } from './error-row.ts';
import { REQUEST_ERRORS } from './request-errors.ts';
import { STREAM_ERRORS } from './stream-errors.ts';

/**
 * The table of all errors: one row for each error code. Any part of the program may throw a `CulvertError` with one of these codes. It is
 * converted for HTTP (with Azure's numbers in the error bodies), MQTT, AMQP, WebSocket close frames and process exit codes only by this table.
 * A test compares docs/protocol/08-errors.md with it.
 */
export const ERRORS = { ...REQUEST_ERRORS, ...STREAM_ERRORS } as const satisfies Record<string, ErrorRow>;

/** The closed list of error codes: the keys of {@link ERRORS}. */
export type ErrorCode = keyof typeof ERRORS;
