import { encodeFrame, FRAME, SESSION_REASONS } from './core/frame.ts';

/** Bytes of the reason in BYE. */
const MAX_TEXT_BYTES = 256;

/** What a device sends as the last bytes of a link whose service side has a key that it does not accept: BYE `key_refused`, which ends the session there. */
export function keyRefusal({ message }: { readonly message: string }): Uint8Array {
  const words = new TextEncoder().encode(message).subarray(0, MAX_TEXT_BYTES);
  const payload = new Uint8Array(5 + words.length);
  payload[0] = SESSION_REASONS.key_refused;
  payload.set(words, 5);
  return encodeFrame(FRAME.bye, 0, payload);
}
