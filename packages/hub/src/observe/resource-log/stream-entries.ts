import { CAUSE_ERRORS, CLOSE_CAUSES, type CloseCause, ERRORS, type ErrorCode } from '@culvert/protocol';
import type { HubEvent } from '../events.ts';
import type { LiveStream, StreamRecord } from '../stream-record.ts';
import type { LogEntry, LogProperties } from './log-entry.ts';

type Event<Type extends HubEvent['type']> = Extract<HubEvent, { type: Type }>;

/** `invoke`: the handshake succeeded, and both sides are connected. */
export function joinedEntry(stream: LiveStream, now: number): LogEntry {
  return {
    ...common(stream),
    ...{ time: now, operation: 'invoke', level: 'Information', error: undefined },
    durationMs: (stream.establishedAt ?? now) - stream.requestedAt,
    properties: { ...previewProperties(stream, undefined), ...ownProperties(stream) },
  };
}

/** The entry for a stream that ended: `streamClose` if it was established, else `invoke` with the error of the failed handshake. */
export function endedEntry(record: StreamRecord): LogEntry {
  const error = record.error ?? CAUSE_ERRORS[record.cause];
  const { establishedAt, endedAt, cause, detail } = record;
  const joined = establishedAt !== undefined;
  const refusal = cause === 'rejected' || cause === 'withdrawn' ? 'Warning' : 'Error';
  return {
    ...common(record),
    time: endedAt,
    operation: joined ? 'streamClose' : 'invoke',
    level: error === undefined ? 'Information' : joined ? 'Warning' : refusal,
    error,
    durationMs: endedAt - (establishedAt ?? record.requestedAt),
    properties: {
      ...previewProperties(record, joined ? undefined : error),
      ...ownProperties(record),
      ...{ streamMs: durationOf(establishedAt, endedAt), cause, error, detail },
    },
  };
}

/** `streamClose` of a stream that was open when the hub process died: its byte counts and the time of its end are not known. */
export function interruptedEntry({ stream, knownUntil }: Event<'stream-interrupted'>, now: number): LogEntry {
  const cause: CloseCause = 'hub_died';
  const error = CAUSE_ERRORS[cause];
  return {
    ...common(stream),
    ...{ time: now, operation: 'streamClose', level: 'Warning', error, durationMs: undefined },
    properties: {
      ...previewProperties(stream, undefined),
      ...{ requestSize: null, responseSize: null },
      ...ownProperties(stream),
      ...{ bytesFromService: undefined, bytesFromDevice: undefined },
      ...{ messagesFromService: undefined, messagesFromDevice: undefined },
      ...{ cause, error, detail: CLOSE_CAUSES[cause], knownUntil: new Date(knownUntil).toISOString() },
    },
  };
}

function common({ deviceId, moduleId, streamId, traceParent }: LiveStream) {
  return { category: 'DeviceStreams', deviceId, moduleId, streamId, traceParent } as const;
}

/** The keys of Azure's log, in the same order. There is no status code for `rejected`: the hub responds with 200 even when the device rejects. */
function previewProperties(stream: LiveStream, error: ErrorCode | undefined): LogProperties {
  return {
    deviceId: stream.deviceId,
    moduleId: stream.moduleId ?? null,
    sdkVersion: stream.answeredBy?.clientVersion ?? null,
    requestSize: String(stream.fromService.bytes),
    responseSize: String(stream.fromDevice.bytes),
    statusCode: error === undefined || error === 'rejected' ? null : String(ERRORS[error].http),
    requestName: stream.streamName,
    direction: 'c2d',
  };
}

function ownProperties(stream: LiveStream): LogProperties {
  const { requestedAt, offeredAt, answeredAt, establishedAt, answeredBy, traceParent } = stream;
  return {
    streamId: stream.streamId,
    sessionId: stream.sessionId,
    sessionVersion: stream.session?.version,
    sessionEncrypted: stream.session?.encrypted,
    caller: stream.caller,
    callerAddress: stream.callerAddress,
    gateway: stream.gateway,
    serviceAddress: stream.serviceAddress,
    deviceAddress: stream.deviceAddress,
    devicePrincipal: answeredBy?.principal,
    protocol: answeredBy?.protocol,
    controlAddress: answeredBy?.remoteAddress,
    requestedAt: new Date(requestedAt).toISOString(),
    offerMs: durationOf(requestedAt, offeredAt),
    answerMs: durationOf(offeredAt, answeredAt),
    joinMs: durationOf(answeredAt, establishedAt),
    bytesFromService: stream.fromService.bytes,
    bytesFromDevice: stream.fromDevice.bytes,
    messagesFromService: stream.fromService.messages,
    messagesFromDevice: stream.fromDevice.messages,
    traceId: traceParent?.slice(3, 35),
  };
}

function durationOf(from: number | undefined, to: number | undefined): number | undefined {
  return from === undefined || to === undefined ? undefined : to - from;
}
