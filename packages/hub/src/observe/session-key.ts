import { type Identity, identityName } from '@culvert/protocol';

/** A key for one session of one caller with one device or module. Two callers that name the same session id have two sessions. */
export function sessionKey(sessionId: string, caller: string, identity: Identity): string {
  // An id has a fixed length, and an identity's name contains no space, so two sessions never have the same key.
  return `${sessionId} ${identityName(identity)} ${caller}`;
}
