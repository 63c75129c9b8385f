import { encodeBye } from './core/frame.ts';

/** What a device sends as the last bytes of a link whose service side has a key that it does not accept: BYE `key_refused`, which ends the session there. */
export function keyRefusal({ message }: { readonly message: string }): Uint8Array {
  return encodeBye('key_refused', 0, message);
}
