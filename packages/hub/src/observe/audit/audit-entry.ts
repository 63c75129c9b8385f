import {
  type AuditType,
  type AuditValue,
  CLOSE_CAUSES,
  type CloseCause,
  type ConnectionClaim,
  printable,
} from '@culvert/protocol';
import type { HubEvent } from '../events.ts';
import type { LiveStreams } from '../live-streams.ts';
import type { LiveStream, StreamRecord } from '../stream-record.ts';

/** The content of an audit record before it gets its sequence number and hash. */
export interface AuditEntry {
  readonly type: AuditType;
  readonly [field: string]: AuditValue | undefined;
}

/** Maximum characters kept of any text that comes from a client. */
const MAX_TEXT = 1_024;

/**
 * Maps an event to its audit entry; undefined for events that are not audited. Streams and changes of identities, policies and authorities are
 * audited. Events that an unauthenticated client can cause are not, so that such a client cannot fill the disk.
 */
export function auditEntry(event: HubEvent, streams: Pick<LiveStreams, 'get'>): AuditEntry | undefined {
  switch (event.type) {
    case 'stream-established': {
      const stream = streams.get(event.streamId);
      return stream === undefined ? undefined : { type: event.type, stream: openFields(stream) };
    }
    case 'stream-ended':
      return { type: event.type, stream: endedFields(event.record) };
    case 'stream-interrupted':
      return { type: 'stream-ended', stream: interruptedFields(event.stream, event.knownUntil) };
    case 'session-reported': {
      const { type, sessionId, streamId, deviceId, moduleId, caller, claimedBy, recorded, unrecorded } = event;
      if (recorded.length === 0) return undefined;
      const connections = recorded.map(connectionFields);
      return { type, sessionId, streamId, deviceId, moduleId, caller, claimedBy, connections, unrecorded };
    }
    case 'stream-close-requested': {
      const { type, streamId, deviceId, moduleId, principal, remoteAddress, reason } = event;
      return { type, streamId, deviceId, moduleId, principal, remoteAddress, reason: reason && text(reason) };
    }
    case 'registry-changed': {
      const { type, change, deviceId, moduleId, principal } = event;
      return { type, change, deviceId, moduleId, principal };
    }
    case 'policy-rotated':
      return { type: event.type, policy: event.policy, principal: event.principal };
    case 'authority-changed': {
      const { type, change, authority, principal } = event;
      return { type, change, authority: text(authority), principal };
    }
    default:
      return undefined;
  }
}

/** Maximum open streams listed in one record: 10,000 open streams make 1,250 records of 8 KiB. */
const STREAMS_PER_RECORD = 8;

/** Returns the entries that list the open streams. They are recorded in each new file, so that a reader does not need the earlier files. */
export function openStreamsEntries(streams: readonly LiveStream[]): AuditEntry[] {
  const entries: AuditEntry[] = [];
  for (let at = 0; at < streams.length; at += STREAMS_PER_RECORD) {
    entries.push({ type: 'streams-open', streams: streams.slice(at, at + STREAMS_PER_RECORD).map(openFields) });
  }
  return entries;
}

type Fields = { readonly [key: string]: AuditValue | undefined };

function openFields(record: LiveStream): Fields {
  const { requestedAt, offeredAt, answeredAt, establishedAt, answeredBy } = record;
  return {
    streamId: record.streamId,
    streamName: text(record.streamName),
    deviceId: record.deviceId,
    moduleId: record.moduleId,
    caller: record.caller,
    callerAddress: record.callerAddress,
    traceParent: record.traceParent,
    sessionId: record.sessionId,
    session: record.session && { version: record.session.version, encrypted: record.session.encrypted },
    gateway: record.gateway,
    requestedAt: time(requestedAt),
    offeredAt: time(offeredAt),
    answeredAt: time(answeredAt),
    answeredBy: answeredBy && {
      principal: answeredBy.principal,
      protocol: answeredBy.protocol,
      remoteAddress: answeredBy.remoteAddress,
    },
    establishedAt: time(establishedAt),
    serviceAddress: record.serviceAddress,
    deviceAddress: record.deviceAddress,
  };
}

function endedFields(record: StreamRecord): Fields {
  return {
    ...openFields(record),
    endedAt: time(record.endedAt),
    cause: record.cause,
    error: record.error,
    detail: text(record.detail),
    fromService: { ...record.fromService },
    fromDevice: { ...record.fromDevice },
  };
}

/** The fields of a stream that was open when the hub died. The end time and the bytes carried are left out, because they are unknown. */
function interruptedFields(stream: LiveStream, knownUntil: number): Fields {
  const cause: CloseCause = 'hub_died';
  const how = { cause, error: 'stream_lost', detail: CLOSE_CAUSES[cause] };
  return { ...openFields(stream), knownUntil: time(knownUntil), ...how };
}

function connectionFields(claim: ConnectionClaim): Fields {
  const { id, service, opened, closed, sent, received, reason } = claim;
  const what = { id, service: text(service), openedAt: time(opened), closedAt: time(closed) };
  return { ...what, sent, received, reason: reason && text(reason) };
}

function time(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

function text(from: string): string {
  return printable(from, MAX_TEXT);
}
