import { CulvertError, type ErrorCode } from '@culvert/protocol';

/** Errors of a link's stream with which the hub or the gateway ends the whole session, not only this link. */
const ENDING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'revoked',
  'closed_by_administrator',
  'lifetime_ended',
  'quota_reached',
]);

/** Whether a session is over after its link ended with this error. After any other error it is resumed. */
export function endsSession(error: unknown): error is CulvertError {
  return error instanceof CulvertError && ENDING.has(error.code);
}
