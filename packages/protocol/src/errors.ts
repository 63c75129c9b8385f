import { errorCodeFromClose } from './close-table.ts';
import type { ErrorRow } from './error-row.ts';
import { ERRORS, type ErrorCode } from './error-table.ts';
import { cutUtf8 } from './utf8.ts';

export { ERRORS, type ErrorCode, type ErrorRow };

/** The class of every error that Culvert throws intentionally. Its `message` can be shown and logged: it never contains a key or a token. */
export class CulvertError extends Error {
  /** The error code: the key of its row in {@link ERRORS}. */
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

  /** `error` itself when it is a CulvertError; otherwise a new error of `code` (default `internal`) with `error` as its cause. */
  static from(error: unknown, code: ErrorCode = 'internal', message?: string): CulvertError {
    if (error instanceof CulvertError) return error;
    return new CulvertError(code, message, { cause: error });
  }
}

/** The longest close reason in bytes of UTF-8: the 125 bytes of a control frame less the 2 of the close code (RFC 6455 §5.5). */
const MAX_CLOSE_REASON = 123;

/**
 * Converts a received WebSocket close frame to an error; undefined for a clean end (1000). The error is `stream_lost` when no close frame
 * was received (1006) or its code is unknown.
 */
export function errorFromClose(code: number, reason: string): CulvertError | undefined {
  if (code === 1000) return undefined;
  const name = errorCodeFromClose(code);
  return new CulvertError(name, lossText(code, reason) ?? (reason === '' ? ERRORS[name].text : reason));
}

/** A clear text for a lost connection, because the reason text of Azure's protocol explains nothing to people; undefined for other closes. */
function lossText(code: number, reason: string): string | undefined {
  if (code === 1006 && reason === '') return 'The connection was lost.';
  const bare = code === 1011 && (reason === '' || reason === ERRORS.stream_lost.text);
  return bare ? 'The connection at the other side was lost.' : undefined;
}

/** `text`, cut to the longest reason that a close frame can contain, never in the middle of a character. */
export function closeReason(text: string): string {
  return cutUtf8(text, MAX_CLOSE_REASON);
}
