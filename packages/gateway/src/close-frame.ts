import { isUtf8 } from 'node:buffer';
import { CulvertError, closeReason } from '@culvert/protocol';
import { controlFrame, OPCODE } from './frame-header.ts';

/** The contents of a close frame. */
export interface CloseStatus {
  readonly code: number;
  /** At most 123 bytes of UTF-8. */
  readonly reason: string;
}

/** The status assumed for a client that ends its direction without a close frame. */
export const CLEAN_CLOSE: CloseStatus = { code: 1000, reason: '' };

/**
 * Parses the payload of a close frame. An empty payload is returned as 1000, the clean end, because some clients crash when they receive an empty one.
 * @throws CulvertError `protocol_error` for a payload of one byte, a code that RFC 6455 §7.4 does not allow to be sent, or invalid UTF-8
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

/** Encodes a complete close frame. A reason longer than 123 bytes is cut. */
export function closeFrame({ code, reason }: CloseStatus): Buffer {
  const text = Buffer.from(closeReason(reason), 'utf8');
  const payload = Buffer.allocUnsafe(2 + text.length);
  payload.writeUInt16BE(code, 0);
  payload.set(text, 2);
  return controlFrame(OPCODE.close, payload);
}

/** Whether a close code may be sent (RFC 6455 §7.4 and its IANA registry): 1004 to 1006 and 1015 never may, other codes from 1016 to 2999 are unassigned. */
function isSendable(code: number): boolean {
  if (code >= 3000) return code < 5000;
  return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006);
}
