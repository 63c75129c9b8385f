import { CulvertError } from '@culvert/protocol';
import type { Proof } from './credential.ts';

/**
 * A token that was made a moment ago and has expired was made by a wrong clock. Over MQTT a refusal says only that the credential was not
 * accepted, and in words what the hub's clock says; to that this adds what this machine's says, and the code.
 * @param now milliseconds since the epoch, by this machine's clock
 */
export function withClockFault(error: CulvertError, { expiresAt }: Proof, now: number): CulvertError {
  const isOurs = expiresAt !== undefined && expiresAt > now && error.message.includes(utc(expiresAt));
  if (!isOurs) return error;
  const text = `${error.message} This machine's clock says ${utc(now)}: set it.`;
  return new CulvertError('token_expired', text, { cause: error });
}

/** To the second, as the hub writes it. */
function utc(time: number): string {
  return new Date(time).toISOString().replace(/\.\d+Z$/, 'Z');
}
