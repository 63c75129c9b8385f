import { CulvertError } from './errors.ts';
import { type Identity, parseDeviceId, parseModuleId, parseStreamName, printable } from './ids.ts';
import { LIMITS } from './limits.ts';
import { SESSION_PROPERTY } from './session-negotiation.ts';

/** Header names of the stream request and its response, as in Azure's protocol (docs/protocol/02-stream-request.md). */
export const STREAM_HEADERS = {
  /** In the request: seconds to wait for a disconnected device to connect. */
  connectTimeout: 'iothub-streaming-connect-timeout-in-seconds',
  /** In the request: seconds to wait for a connected device to answer. */
  responseTimeout: 'iothub-streaming-response-timeout-in-seconds',
  /** In the response: exactly `True` or `False`. */
  isAccepted: 'iothub-streaming-is-accepted',
  /** In the response: the URL of the service's grant. */
  url: 'iothub-streaming-url',
  /** In the response: the token of the service's grant. */
  token: 'iothub-streaming-auth-token',
  /** In the response, a Culvert extension: the stream's id, by which it can be found in the logs. */
  streamId: 'culvert-stream-id',
  /** In the response, a Culvert extension: the reason why the device rejected the request, in percent-encoded UTF-8. */
  rejectReason: 'culvert-reject-reason',
  /** In the request and in the response, a Culvert extension: the session that the service asks for, and what the device chose. */
  session: SESSION_PROPERTY,
  /** In the response, a Culvert extension: why a stream is raw for which the service asked for a session. */
  noSession: 'culvert-no-session',
  /** In the response, a Culvert extension, with a session: milliseconds without a byte after which the hub ends the stream, if it does. */
  idleMs: 'culvert-idle-ms',
} as const;

/** Whether `text` is a valid `traceparent` header of version 00 (W3C Trace Context §3.2): a trace id, a span id and flags. */
export function isTraceParent(text: string): boolean {
  return /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/.test(text);
}

/** The subprotocol that Culvert's own clients offer. It declares to the gateway that they answer WebSocket pings, which Azure's C clients do not. */
export const STREAM_SUBPROTOCOL = 'culvert.stream.v1';

/** Response header of a refused upgrade, a Culvert extension: the error code, a space, and the message in percent-encoded UTF-8. */
export const REFUSAL_HEADER = 'culvert-error';

/** The `api-version` that Culvert's clients send. The hub accepts any version. */
export const API_VERSION = '2020-09-30';

/** How long the hub may hold a stream request, in milliseconds. */
export interface HandshakeTimes {
  /** Maximum time for an offline device to connect. */
  readonly connectMs: number;
  /** Maximum time from the request to the device's answer: the sum of both headers, at most 60 s. */
  readonly answerMs: number;
}

/**
 * Parses the two timeout headers. An absent header means 60 s; fractions (the C# SDK sends them) and `0` are allowed.
 * @throws CulvertError `argument_invalid` for a value that is not a non-negative decimal number
 */
export function parseHandshakeTimes(connect: string | undefined, response: string | undefined): HandshakeTimes {
  const connectMs = seconds(STREAM_HEADERS.connectTimeout, connect);
  const answerMs = Math.min(connectMs + seconds(STREAM_HEADERS.responseTimeout, response), LIMITS.handshakeMs);
  return { connectMs: Math.min(connectMs, answerMs), answerMs };
}

function seconds(name: string, text: string | undefined): number {
  if (text === undefined) return LIMITS.handshakeMs;
  if (!/^\d{1,9}(\.\d{1,9})?$/.test(text.trim())) {
    throw new CulvertError(
      'argument_invalid',
      `The header ${name} must be a number of seconds, not '${printable(text, 40)}'.`,
    );
  }
  return Number(text) * 1000;
}

/** The path and query of a stream request. The stream name needs no encoding (see `parseStreamName`). */
export function streamRequestPath({ deviceId, moduleId }: Identity, streamName: string): string {
  const device = encodeURIComponent(parseDeviceId(deviceId));
  const module = moduleId === undefined ? '' : `/modules/${encodeURIComponent(parseModuleId(moduleId))}`;
  return `/twins/${device}${module}/streams/${parseStreamName(streamName)}?api-version=${API_VERSION}`;
}
