import { CulvertError, isTraceParent, printable, STREAM_HEADERS, streamRequestPath } from '@culvert/protocol';
import type { Grant } from '@culvert/protocol/grant';
import { assertGateway } from '@culvert/stream';
import type { RestAnswer, RestClient } from './rest-client.ts';

/** What stream to open, and how long to try. */
export interface OpenStreamOptions {
  /** The stream's name: to the agent, the name of the service wanted. */
  readonly name: string;
  /** The module to open it to; default the device itself. */
  readonly moduleId?: string;
  /** The caller's active span as a `traceparent` header (W3C Trace Context), which the hub's trace of the handshake joins. */
  readonly traceParent?: string;
  /** Cancels at any step. The device's offer is withdrawn. */
  readonly signal?: AbortSignal;
  /** Milliseconds to wait for an offline device, default 5,000: it may be about to reconnect. Sent in whole seconds, rounded up. */
  readonly connectTimeoutMs?: number;
  /** Milliseconds to wait for the device's answer, default 30,000; with the above at most 60,000. Sent in whole seconds, rounded up. */
  readonly responseTimeoutMs?: number;
}

/** Milliseconds beyond the two timeouts after which the request fails: time for connecting, TLS, and a slow line. */
const SLACK_MS = 10_000;

/**
 * Asks the hub for a stream and waits for the device's answer.
 * @param gateways hosts allowed as gateways besides the hub itself
 * @returns the service's grant, which leads to a gateway of this hub
 * @throws CulvertError `rejected` with the device's reason, `untrusted` for a host that is not an allowed gateway, and all that {@link RestClient.send} throws
 */
export async function requestStream(
  rest: RestClient,
  deviceId: string,
  options: OpenStreamOptions,
  gateways?: readonly string[],
): Promise<Grant> {
  const connect = wholeSeconds('connectTimeoutMs', options.connectTimeoutMs ?? 5_000);
  const response = wholeSeconds('responseTimeoutMs', options.responseTimeoutMs ?? 30_000);
  const answer = await rest.send({
    method: 'POST',
    path: streamRequestPath({ deviceId, moduleId: options.moduleId }, options.name),
    headers: {
      [STREAM_HEADERS.connectTimeout]: `${connect}`,
      [STREAM_HEADERS.responseTimeout]: `${response}`,
      ...(options.traceParent === undefined ? {} : { traceparent: wellFormed(options.traceParent) }),
    },
    timeoutMs: (connect + response) * 1_000 + SLACK_MS,
    signal: options.signal,
    // A request that was written to a dead connection reached no device; one that reached it and was cut off has been withdrawn.
    repeatable: true,
  });
  const grant = readAnswer(answer);
  assertGateway(grant.url, 'service', answer.hub, gateways);
  return grant;
}

function readAnswer({ headers }: Pick<RestAnswer, 'headers'>): Grant {
  const header = (name: string) => {
    const value = headers[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const accepted = header(STREAM_HEADERS.isAccepted);
  const url = header(STREAM_HEADERS.url);
  const token = header(STREAM_HEADERS.token);
  if (accepted === 'True' && url !== undefined && token !== undefined) return { url, token };
  if (accepted !== 'False')
    throw new CulvertError('protocol_error', 'The answer is not what a hub sends. Is this the address of a hub?');
  const reason = decodeReason(header(STREAM_HEADERS.rejectReason));
  throw new CulvertError('rejected', reason === undefined ? undefined : `The device rejected the stream: ${reason}`);
}

/** The device's reason, safe to print in a terminal. */
function decodeReason(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  try {
    return printable(decodeURIComponent(text), 512);
  } catch {
    return printable(text, 512);
  }
}

/** The hub ignores a malformed header, so report it here. */
function wellFormed(traceParent: string): string {
  if (isTraceParent(traceParent)) return traceParent;
  throw new CulvertError(
    'argument_invalid',
    'traceParent must be a traceparent header: 00-TRACE-SPAN-FLAGS, in hexadecimal.',
  );
}

function wholeSeconds(name: string, ms: number): number {
  if (!Number.isFinite(ms) || ms < 0)
    throw new CulvertError('argument_invalid', `${name} must be a number of milliseconds, not negative.`);
  return Math.ceil(ms / 1_000);
}
