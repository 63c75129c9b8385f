import { errorCodeFromClose } from './close-table.ts';
import type { ErrorRow } from './error-row.ts';
import { ERRORS, type ErrorCode } from './error-table.ts';
import { cutUtf8 } from './utf8.ts';

export { ERRORS, type ErrorCode, type ErrorRow };

/** Every error Culvert throws on purpose. Its `message` is safe to show and to log: it never holds a key or a token. */
export class CulvertError extends Error {
  /** What kind of error: the key of its row in {@link ERRORS}. */
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string = ERRORS[code].text, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CulvertError';
    this.code = code;
  }

  /** The row of this error's code. */
  get row(): ErrorRow {
    return ERRORS[this.code];
  }

  /** `error` itself when it is a CulvertError; otherwise a new error of `code` (default `internal`) that keeps it as cause. */
  static from(error: unknown, code: ErrorCode = 'internal', message?: string): CulvertError {
    if (error instanceof CulvertError) return error;
    return new CulvertError(code, message, { cause: error });
  }
}

/** The longest close reason in bytes of UTF-8: a control frame's 125 less the code (RFC 6455 §5.5). */
const MAX_CLOSE_REASON = 123;

/**
 * The error a WebSocket close frame stands for at the end that received it, or undefined for the clean end (1000). An end that
 * received no close frame (1006) or an unknown code lost its stream.
 */
export function errorFromClose(code: number, reason: string): CulvertError | undefined {
  if (code === 1000) return undefined;
  const name = errorCodeFromClose(code);
  return new CulvertError(name, lossText(code, reason) ?? (reason === '' ? ERRORS[name].text : reason));
}

/** The words of the Azure protocol for a connection that was lost say nothing to a person. */
function lossText(code: number, reason: string): string | undefined {
  if (code === 1006 && reason === '') return 'The connection was lost.';
  const bare = code === 1011 && (reason === '' || reason === ERRORS.stream_lost.text);
  return bare ? 'The connection at the other side was lost.' : undefined;
}

/** `text` cut to what a close frame carries, never in the middle of a character. */
export function closeReason(text: string): string {
  return cutUtf8(text, MAX_CLOSE_REASON);
}
