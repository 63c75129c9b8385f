import { STATUS_CODES } from 'node:http';
import { type CulvertError, REFUSAL_HEADER } from '@culvert/protocol';

/** The plain HTTP response that refuses an upgrade, with the error's message as its body. */
export function refusal(error: CulvertError): string {
  const status = error.code === 'protocol_unsupported' ? 426 : error.row.http;
  const body = `${error.message}\n`;
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}`,
    'Connection: close',
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  if (status === 401) lines.push('WWW-Authenticate: Bearer');
  // RFC 6455 §4.4 requires the supported version.
  if (status === 426) lines.push('Upgrade: websocket', 'Sec-WebSocket-Version: 13');
  // A Culvert extension: the exact error code and message, because the status stands for several errors.
  lines.push(`${REFUSAL_HEADER}: ${error.code} ${encodeURIComponent(error.message)}`);
  if (error.row.retryable) lines.push('Retry-After: 1');
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}
