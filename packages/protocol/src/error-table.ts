import type { ErrorRow } from './error-row.ts';
import { REQUEST_ERRORS } from './request-errors.ts';
import { STREAM_ERRORS } from './stream-errors.ts';

/**
 * One error class, one closed list of codes, one row per code. Thrown anywhere, mapped at each edge from this table and
 * nowhere else: HTTP (and Azure's own numbers inside its error bodies), MQTT, AMQP, WebSocket close codes, process exit codes.
 * docs/protocol/08-errors.md is compared with it by a test.
 */
export const ERRORS = { ...REQUEST_ERRORS, ...STREAM_ERRORS } as const satisfies Record<string, ErrorRow>;

/** The closed list of error codes: the keys of {@link ERRORS}. */
export type ErrorCode = keyof typeof ERRORS;
