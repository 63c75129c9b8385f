import {
  type Announcement,
  isVersionWithin,
  type NoSession,
  parseSessionRequest,
  type SessionAnswer,
  type SessionRequest,
} from '@culvert/protocol';

/** The session that a service asked for, and its text as it came, which the offer repeats with keys that this hub does not know. */
export interface RequestedSession extends SessionRequest {
  readonly text: string;
}

/** @param text the header `culvert-session`. @throws CulvertError `argument_invalid` */
export function requestedSession(text: string | undefined): RequestedSession | undefined {
  return text === undefined ? undefined : { ...parseSessionRequest(text), text };
}

/**
 * The session that both ends agreed on. Undefined, so the stream is raw, unless the service asked for one, the device had announced that it knows
 * sessions when it was offered the stream, and it chose a version that both know.
 */
export function agreedSession(
  asked: SessionRequest | undefined,
  announced: Announcement | undefined,
  chosen: SessionAnswer | undefined,
): SessionAnswer | undefined {
  if (asked === undefined || announced?.session === undefined || chosen === undefined) return undefined;
  return isVersionWithin(chosen.version, asked, announced.session) ? chosen : undefined;
}

/** Why a stream is raw for which the service asked for a session. */
export function whyNoSession(asked: SessionRequest, announced: Announcement | undefined): NoSession {
  const knows = announced?.session;
  if (knows === undefined) return { why: 'not_announced' };
  const isCommon = knows.lowest <= asked.highest && asked.lowest <= knows.highest;
  return isCommon ? { why: 'declined' } : { why: 'versions', lowest: knows.lowest, highest: knows.highest };
}
