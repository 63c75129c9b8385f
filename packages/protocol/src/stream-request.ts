import { CulvertError } from './errors.ts';
import { type Identity, parseDeviceId, parseModuleId, parseStreamName, printable } from './ids.ts';
import { LIMITS } from './limits.ts';

/** Header names of the stream request and its response, as in Azure's protocol (docs/protocol/02-stream-request.md). */
export const STREAM_HEADERS = {
  /** Request: seconds to wait for a disconnected device to connect. */
  connectTimeout: 'iothub-streaming-connect-timeout-in-seconds',
  /** Request: seconds to wait for a connected device to answer. */
  responseTimeout: 'iothub-streaming-response-timeout-in-seconds',
  /** Answer: exactly `True` or `False`. */
  isAccepted: 'iothub-streaming-is-accepted',
  /** Answer: the service's grant URL. */
  url: 'iothub-streaming-url',
  /** Answer: the service's grant token. */
  token: 'iothub-streaming-auth-token',
  /** Response, a Culvert extension: the stream's id, to find it in the logs. */
  streamId: 'culvert-stream-id',
  /** Response, a Culvert extension: why the device rejected, percent-encoded UTF-8. */
  rejectReason: 'culvert-reject-reason',
} as const;

/** Whether `text` is a `traceparent` header of version 00 (W3C Trace Context §3.2): a trace, a span in it, flags. */
export function isTraceParent(text: string): boolean {
  return /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/.test(text);
}

/** The subprotocol by which Culvert's own ends tell the gateway that they support WebSocket pings (Azure's C clients do not). */
export const STREAM_SUBPROTOCOL = 'culvert.stream.v1';

/** Response header of a refused upgrade, a Culvert extension: the error's code, a space, and its text, percent-encoded UTF-8. */
export const REFUSAL_HEADER = 'culvert-error';

/** The api-version that Culvert's clients send; the hub accepts any. */
export const API_VERSION = '2020-09-30';

/** How long a request may be held, in milliseconds. */
export interface HandshakeTimes {
  /** For an offline device to connect. */
  readonly connectMs: number;
  /** From the request to the device's answer: connect and response together, at most 60 s. */
  readonly answerMs: number;
}

/**
 * Reads the two timeout headers. Absent means 60 s; fractions are allowed (C# sends them); `0` is allowed.
 * @throws CulvertError `argument_invalid` for anything that is not a non-negative decimal number
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

/** The path of the request for a stream. The stream name needs no encoding (see `parseStreamName`). */
export function streamRequestPath({ deviceId, moduleId }: Identity, streamName: string): string {
  const device = encodeURIComponent(parseDeviceId(deviceId));
  const module = moduleId === undefined ? '' : `/modules/${encodeURIComponent(parseModuleId(moduleId))}`;
  return `/twins/${device}${module}/streams/${parseStreamName(streamName)}?api-version=${API_VERSION}`;
}
