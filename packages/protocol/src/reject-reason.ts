import { printable } from './ids.ts';
import { LIMITS } from './limits.ts';
import { cutUtf8 } from './utf8.ts';

/** A rejection's reason as a device gave it, in UTF-8: bounded, safe to show. */
export function rejectReason(given: string | Buffer): string {
  const bytes = Buffer.from(given).subarray(0, LIMITS.rejectReasonBytes);
  // Streaming mode drops a character that the limit cut in two.
  const text = new TextDecoder().decode(bytes, { stream: true });
  return cutUtf8(printable(text, LIMITS.rejectReasonBytes), LIMITS.rejectReasonBytes);
}
