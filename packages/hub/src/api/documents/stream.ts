import type { StreamCounters } from '@culvert/gateway';
import type { EndedStreamView, Identity, SessionClaimsView, StreamState, StreamView } from '@culvert/protocol';
import type { Claims } from '../../observe/latest-claims.ts';
import type { LiveStream, StreamRecord } from '../../observe/stream-record.ts';

/** A stream in the live view. @param counters the gateway's counters, for an established stream */
export function streamView(stream: LiveStream, counters: StreamCounters | undefined): StreamView {
  const { fromService, fromDevice } = counters ?? stream;
  return {
    streamId: stream.streamId,
    streamName: stream.streamName,
    deviceId: stream.deviceId,
    moduleId: stream.moduleId ?? null,
    state: stateOf(stream),
    sessionId: stream.sessionId ?? null,
    sessionVersion: stream.session?.version ?? null,
    sessionEncrypted: stream.session?.encrypted ?? null,
    caller: stream.caller,
    callerAddress: stream.callerAddress,
    gateway: stream.gateway,
    requestedAt: isoTime(stream.requestedAt),
    offeredAt: isoOrNull(stream.offeredAt),
    answeredAt: isoOrNull(stream.answeredAt),
    establishedAt: isoOrNull(stream.establishedAt),
    protocol: stream.answeredBy?.protocol ?? null,
    serviceAddress: stream.serviceAddress ?? null,
    deviceAddress: stream.deviceAddress ?? null,
    fromService,
    fromDevice,
  };
}

/** @param session whose the claims are */
export function claimsView(
  session: Identity & { readonly sessionId: string; readonly caller: string },
  { claimedBy, at, connections }: Claims,
): SessionClaimsView {
  const { deviceId, moduleId, sessionId, caller } = session;
  return { sessionId, deviceId, moduleId: moduleId ?? null, caller, claimedBy, at: isoTime(at), connections };
}

/** The data of the last event of a stream in a subscription. */
export function endedStreamView(record: StreamRecord): EndedStreamView {
  const { cause, error = null, detail } = record;
  return { ...streamView(record, undefined), endedAt: isoTime(record.endedAt), cause, error, detail };
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

function isoOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : isoTime(ms);
}

function stateOf({ offeredAt, answeredAt, establishedAt }: LiveStream): StreamState {
  if (establishedAt !== undefined) return 'established';
  if (answeredAt !== undefined) return 'accepted';
  return offeredAt === undefined ? 'requested' : 'offered';
}
