import { CAUSE_ERRORS, ERRORS, type ErrorCode } from '@culvert/protocol';
import type { LiveStream, StreamRecord } from '../stream-record.ts';
import type { LogEntry, LogProperties } from './log-entry.ts';

/** `invoke`: the handshake is over because both sides have met. */
export function joinedEntry(stream: LiveStream, now: number): LogEntry {
  return {
    ...common(stream),
    ...{ time: now, operation: 'invoke', level: 'Information', error: undefined },
    durationMs: (stream.establishedAt ?? now) - stream.requestedAt,
    properties: { ...previewProperties(stream, undefined), ...ownProperties(stream) },
  };
}

/** A stream is over: `streamClose` when it had been joined, else `invoke`, whose handshake failed. */
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
      ...{ streamMs: span(establishedAt, endedAt), cause, error, detail },
    },
  };
}

function common({ deviceId, moduleId, streamId, traceParent }: LiveStream) {
  return { category: 'DeviceStreams', deviceId, moduleId, streamId, traceParent } as const;
}

/** The preview's own keys, in its order. The hub answers a request 200 also when the device rejects. */
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
    caller: stream.caller,
    callerAddress: stream.callerAddress,
    gateway: stream.gateway,
    serviceAddress: stream.serviceAddress,
    deviceAddress: stream.deviceAddress,
    devicePrincipal: answeredBy?.principal,
    protocol: answeredBy?.protocol,
    controlAddress: answeredBy?.remoteAddress,
    requestedAt: new Date(requestedAt).toISOString(),
    offerMs: span(requestedAt, offeredAt),
    answerMs: span(offeredAt, answeredAt),
    joinMs: span(answeredAt, establishedAt),
    bytesFromService: stream.fromService.bytes,
    bytesFromDevice: stream.fromDevice.bytes,
    messagesFromService: stream.fromService.messages,
    messagesFromDevice: stream.fromDevice.messages,
    traceId: traceParent?.slice(3, 35),
  };
}

function span(from: number | undefined, to: number | undefined): number | undefined {
  return from === undefined || to === undefined ? undefined : to - from;
}
