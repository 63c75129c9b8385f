import { CulvertError, ERRORS, type ErrorCode } from './errors.ts';
import { printable } from './ids.ts';

/** The error body of Azure's REST routes: a JSON document that contains another one as a string. */
export function formatErrorBody(error: CulvertError, trackingId: string, now: Date): string {
  const inner = {
    errorCode: error.row.azure[0],
    trackingId,
    message: error.message,
    timestampUtc: now.toISOString(),
    // A Culvert extension: the exact code, because some codes share one Azure number.
    culvertCode: error.code,
  };
  return JSON.stringify({ Message: JSON.stringify(inner), ExceptionMessage: '' });
}

/**
 * Converts an HTTP error response of the hub, or of a proxy in between, to an error: from a body in Azure's format, from an RFC 9457
 * problem document, or, if the body has neither format, from the status.
 */
export function parseErrorBody(status: number, body: string): CulvertError {
  const outer = parseObject(body);
  const inner = parseObject(outer?.['Message']) ?? outer;
  const text = inner?.['message'] ?? inner?.['detail'];
  const message = typeof text === 'string' ? text : `The hub answered with HTTP status ${status}.`;
  const named = inner?.['culvertCode'] ?? inner?.['code'];
  if (typeof named === 'string' && Object.hasOwn(ERRORS, named)) return new CulvertError(named as ErrorCode, message);
  const byNumber = (Object.keys(ERRORS) as ErrorCode[]).find((code) => ERRORS[code].azure[0] === inner?.['errorCode']);
  return new CulvertError(byNumber ?? byStatus(status), message);
}

/** The error in the header `culvert-error` of a refused upgrade; undefined when the header is absent. */
export function parseRefusal(header: string | string[] | undefined): CulvertError | undefined {
  const [code = '', text = ''] = typeof header === 'string' ? header.split(' ', 2) : [];
  if (!Object.hasOwn(ERRORS, code)) return undefined;
  try {
    return new CulvertError(code as ErrorCode, printable(decodeURIComponent(text), 512));
  } catch {
    return new CulvertError(code as ErrorCode);
  }
}

function parseObject(text: unknown): Record<string, unknown> | undefined {
  if (typeof text !== 'string') return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function byStatus(status: number): ErrorCode {
  if (status === 400) return 'argument_invalid';
  if (status === 401 || status === 403) return 'unauthorized';
  if (status === 404) return 'route_not_found';
  if (status === 409) return 'device_exists';
  if (status === 412) return 'precondition_failed';
  if (status === 429) return 'too_many_requests';
  if (status === 503) return 'draining';
  if (status === 504) return 'handshake_timeout';
  return status >= 500 ? 'unreachable' : 'protocol_error';
}
