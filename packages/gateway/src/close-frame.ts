import { isUtf8 } from 'node:buffer';
import { CulvertError, closeReason } from '@culvert/protocol';
import { controlFrame, OPCODE } from './frame-header.ts';

/** What a close frame says. */
export interface CloseStatus {
  readonly code: number;
  /** At most 123 bytes of UTF-8. */
  readonly reason: string;
}

/** What a client that ends without a close frame says by it. */
export const CLEAN_CLOSE: CloseStatus = { code: 1000, reason: '' };

/**
 * Reads a close frame's payload. An empty one is the clean end, 1000: it must not be passed on empty, some clients crash on that.
 * @throws CulvertError `protocol_error` for one byte, for a code RFC 6455 §7.4 does not let an endpoint send, for bad UTF-8
 */
export function parseClose(payload: Buffer): CloseStatus {
  if (payload.length === 0) return { code: 1000, reason: '' };
  if (payload.length === 1) throw new CulvertError('protocol_error', 'The client sent half a close code.');
  const code = payload.readUInt16BE(0);
  if (!isSendable(code)) throw new CulvertError('protocol_error', `The client closed with the code ${code}.`);
  const reason = payload.subarray(2);
  if (!isUtf8(reason)) throw new CulvertError('protocol_error', 'The client closed with a reason that is not UTF-8.');
  return { code, reason: reason.toString('utf8') };
}

/** A whole close frame. Reasons longer than 123 bytes are cut. */
export function closeFrame({ code, reason }: CloseStatus): Buffer {
  const text = Buffer.from(closeReason(reason), 'utf8');
  const payload = Buffer.allocUnsafe(2 + text.length);
  payload.writeUInt16BE(code, 0);
  payload.set(text, 2);
  return controlFrame(OPCODE.close, payload);
}

/** RFC 6455 §7.4 and the IANA registry it opened: 1004 to 1006 and 1015 never travel, the rest below 3000 is unassigned. */
function isSendable(code: number): boolean {
  if (code >= 3000) return code < 5000;
  return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006);
}
