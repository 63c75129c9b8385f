import { type AuditType, type AuditValue, printable } from '@culvert/protocol';
import type { HubEvent } from '../events.ts';
import type { StreamRecord } from '../stream-record.ts';

/** The content of an audit record before it gets its sequence number and hash. */
export interface AuditEntry {
  readonly type: AuditType;
  readonly [field: string]: AuditValue | undefined;
}

/** Maximum characters kept of any text that comes from a client. */
const MAX_TEXT = 1_024;

/**
 * Maps an event to its audit entry; undefined for events that are not audited. Audited are streams and changes of permissions: nothing that an unauthenticated client can
 * cause at will, so that nobody fills the disk.
 */
export function auditEntry(event: HubEvent): AuditEntry | undefined {
  switch (event.type) {
    case 'stream-ended':
      return { type: event.type, stream: streamFields(event.record) };
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

function streamFields(record: StreamRecord): AuditValue {
  const { requestedAt, offeredAt, answeredAt, establishedAt, endedAt, answeredBy, fromService, fromDevice } = record;
  return {
    streamId: record.streamId,
    streamName: text(record.streamName),
    deviceId: record.deviceId,
    moduleId: record.moduleId,
    caller: record.caller,
    callerAddress: record.callerAddress,
    traceParent: record.traceParent,
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
    endedAt: time(endedAt),
    cause: record.cause,
    error: record.error,
    detail: text(record.detail),
    fromService: { ...fromService },
    fromDevice: { ...fromDevice },
  };
}

function time(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

function text(from: string): string {
  return printable(from, MAX_TEXT);
}
