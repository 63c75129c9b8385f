import { printable } from './ids.ts';
import { LIMITS } from './limits.ts';
import { cutUtf8 } from './utf8.ts';

/** The reason of a rejection as a device sent it, in UTF-8: cut to `LIMITS.rejectReasonBytes` and escaped, so that it is safe to show. */
export function rejectReason(given: string | Buffer): string {
  const bytes = Buffer.from(given).subarray(0, LIMITS.rejectReasonBytes);
  // In streaming mode the decoder drops an incomplete character at the end, where the limit may have cut it.
  const text = new TextDecoder().decode(bytes, { stream: true });
  return cutUtf8(printable(text, LIMITS.rejectReasonBytes), LIMITS.rejectReasonBytes);
}
