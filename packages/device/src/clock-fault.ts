import { CulvertError } from '@culvert/protocol';
import type { Proof } from './credential.ts';

/**
 * Converts a refusal that is caused by a wrong clock of this machine: the hub reports that the token has expired, but this client created it a
 * moment ago. Over MQTT, such a refusal only has the general code for a rejected credential; its message contains the token's expiry and
 * the hub's time. The returned error adds this machine's time and the code `token_expired`. Every other error is returned unchanged.
 * @param now milliseconds since the epoch, by this machine's clock
 */
export function withClockFault(error: CulvertError, { expiresAt }: Proof, now: number): CulvertError {
  const isOurs = expiresAt !== undefined && expiresAt > now && error.message.includes(utc(expiresAt));
  if (!isOurs) return error;
  const text = `${error.message} This machine's clock says ${utc(now)}: set it.`;
  return new CulvertError('token_expired', text, { cause: error });
}

/** Formats a time without fractions of a second, as the hub does in its message. */
function utc(time: number): string {
  return new Date(time).toISOString().replace(/\.\d+Z$/, 'Z');
}
