import type { HubEvent } from '../events.ts';
import type { LogEntry } from './log-entry.ts';

/** `connectionClose`: one record for each connection that an end of a session claims was closed. */
export function connectionEntries(event: Extract<HubEvent, { type: 'session-reported' }>): LogEntry[] {
  const { deviceId, moduleId, sessionId, streamId, caller, claimedBy, at, recorded, unrecorded } = event;
  return recorded.map(({ id, service, opened, closed = at, sent, received, reason }, index) => ({
    ...{ time: at, category: 'DeviceStreams', operation: 'connectionClose', level: 'Information', error: undefined },
    ...{ durationMs: closed - opened, deviceId, moduleId, streamId, traceParent: undefined },
    properties: {
      ...{ deviceId, moduleId: moduleId ?? null, requestName: service, direction: 'c2d' },
      ...{ streamId, sessionId, caller, claimedBy, connection: id },
      ...{ openedAt: new Date(opened).toISOString(), closedAt: new Date(closed).toISOString() },
      ...{ bytesSent: sent, bytesReceived: received, reason, unrecorded: index === 0 ? unrecorded : 0 },
    },
  }));
}
