import type { Duplex } from 'node:stream';
import {
  CulvertError,
  formatSessionRequest,
  isStreamId,
  isTraceParent,
  isVersionWithin,
  type NoSession,
  printable,
  readMilliseconds,
  readNoSession,
  readSessionAnswer,
  type SessionAnswer,
  type SessionRequest,
  STREAM_HEADERS,
  streamRequestPath,
} from '@culvert/protocol';
import type { Grant } from '@culvert/protocol/grant';
import { assertGateway } from '@culvert/stream';
import type { RestAnswer, RestClient } from './rest-client.ts';

/** The stream to open, and timeouts for opening it. */
export interface OpenStreamOptions {
  /** The stream's name. An agent takes it as the name of the requested service. */
  readonly name: string;
  /**
   * True: a stream of its own, without a session, as all other SDKs open it. Default false: the stream is a connection in a session with the device, if
   * the device serves sessions.
   */
  readonly raw?: boolean;
  /**
   * True: a connection in a session is returned as soon as it is asked for, so that what is written reaches the service together with the request, one
   * round trip sooner. The Duplex emits `opened` when the device has reached the service, and an error if it has not. Default false: the device has
   * answered. A raw stream is always answered.
   */
  readonly early?: boolean;
  /** The module to open the stream to; default the device itself. */
  readonly moduleId?: string;
  /** The caller's active span as a `traceparent` header (W3C Trace Context). The hub's trace of the handshake becomes a part of that trace. */
  readonly traceParent?: string;
  /** Cancels the opening at any step, and withdraws the offer to the device. */
  readonly signal?: AbortSignal;
  /** Milliseconds to wait for an offline device, default 5,000: it may be about to reconnect. Sent in whole seconds, rounded up. */
  readonly connectTimeoutMs?: number;
  /** Milliseconds to wait for the device's answer, default 30,000; at most 60,000 together with `connectTimeoutMs`. Sent in whole seconds, rounded up. */
  readonly responseTimeoutMs?: number;
}

/** A stream to open, which may carry a session. */
export interface SessionStreamOptions extends OpenStreamOptions {
  /** The session to ask the device for; default none: the stream is raw. */
  readonly session?: SessionRequest;
  /** Whether the stream is for a session that exists already, and is requested even after the client was closed. Default false. */
  readonly resumes?: boolean;
}

/** Why a stream is raw although a session was asked for. `hub_too_old`: the hub says nothing of sessions, so it does not know them. */
export type RawReason = NoSession | { readonly why: 'hub_too_old' };

/** What the hub replied: the device has accepted. */
export interface GrantedStream {
  /** The service's grant, whose URL leads to an allowed gateway. */
  readonly grant: Grant;
  /** The stream's id in the hub's logs; undefined if the hub does not send it. */
  readonly streamId: string | undefined;
  /** The session that the device chose; undefined if the stream is raw. */
  readonly session: SessionAnswer | undefined;
  /** Why the stream is raw, if a session was asked for. */
  readonly noSession: RawReason | undefined;
  /** Milliseconds without a byte after which the hub ends the stream; undefined without a session, and without such a limit. */
  readonly idleMs: number | undefined;
}

/** A stream that was opened to carry a session, and what the device chose. */
export interface OpenedSessionStream extends Pick<GrantedStream, 'streamId' | 'session' | 'noSession' | 'idleMs'> {
  /** As `ServiceClient.openStream` gives it. */
  readonly stream: Duplex;
}

/** Milliseconds that a request may take in addition to its two timeouts: for connecting, TLS, and a slow line. */
const SLACK_MS = 10_000;

/**
 * Requests a stream from the hub and waits for the device's answer.
 * @param gateways hosts that are allowed as gateways besides the hub's own host and those in its certificate
 * @throws CulvertError `rejected` with the device's reason, `untrusted` for a host that is not an allowed gateway, `argument_invalid` for a session
 *   that is not valid, and the errors of {@link RestClient.send}
 */
export async function requestStream(
  rest: RestClient,
  deviceId: string,
  options: SessionStreamOptions,
  gateways?: readonly string[],
): Promise<GrantedStream> {
  const connect = wholeSeconds('connectTimeoutMs', options.connectTimeoutMs ?? 5_000);
  const response = wholeSeconds('responseTimeoutMs', options.responseTimeoutMs ?? 30_000);
  const answer = await rest.send({
    method: 'POST',
    path: streamRequestPath({ deviceId, moduleId: options.moduleId }, options.name),
    headers: {
      [STREAM_HEADERS.connectTimeout]: `${connect}`,
      [STREAM_HEADERS.responseTimeout]: `${response}`,
      ...(options.traceParent === undefined ? {} : { traceparent: wellFormed(options.traceParent) }),
      ...(options.session === undefined ? {} : { [STREAM_HEADERS.session]: formatSessionRequest(options.session) }),
    },
    timeoutMs: (connect + response) * 1_000 + SLACK_MS,
    signal: options.signal,
    // A request on a connection that the hub had closed reached no device. If an offer had reached the device, the hub has withdrawn it.
    repeatable: true,
    ...(options.resumes === true ? { afterClose: true } : {}),
  });
  const granted = readReply(answer, options.session);
  assertGateway(granted.grant.url, 'service', answer.hub, gateways);
  return granted;
}

function readReply({ headers }: Pick<RestAnswer, 'headers'>, asked: SessionRequest | undefined): GrantedStream {
  const header = (name: string) => {
    const value = headers[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const accepted = header(STREAM_HEADERS.isAccepted);
  const url = header(STREAM_HEADERS.url);
  const token = header(STREAM_HEADERS.token);
  if (accepted === 'True' && url !== undefined && token !== undefined) {
    const streamId = header(STREAM_HEADERS.streamId);
    const session = chosenSession(header(STREAM_HEADERS.session), asked);
    return {
      grant: { url, token },
      streamId: streamId !== undefined && isStreamId(streamId) ? streamId : undefined,
      session,
      noSession: asked === undefined || session !== undefined ? undefined : rawReason(header),
      idleMs: session === undefined ? undefined : readMilliseconds(header(STREAM_HEADERS.idleMs)),
    };
  }
  if (accepted !== 'False')
    throw new CulvertError('protocol_error', 'The answer is not what a hub sends. Is this the address of a hub?');
  const reason = decodeReason(header(STREAM_HEADERS.rejectReason));
  throw new CulvertError('rejected', reason === undefined ? undefined : `The device rejected the stream: ${reason}`);
}

/** Undefined for a session that was not asked for, or of a version that was not. */
function chosenSession(text: string | undefined, asked: SessionRequest | undefined): SessionAnswer | undefined {
  const chosen = readSessionAnswer(text);
  return asked !== undefined && chosen !== undefined && isVersionWithin(chosen.version, asked) ? chosen : undefined;
}

function rawReason(header: (name: string) => string | undefined): RawReason {
  const reason = readNoSession(header(STREAM_HEADERS.noSession));
  // A hub that knows sessions sends one of the two headers.
  return reason ?? { why: header(STREAM_HEADERS.session) === undefined ? 'hub_too_old' : 'declined' };
}

/** Decodes the device's reason and makes it safe to print in a terminal. */
function decodeReason(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  try {
    return printable(decodeURIComponent(text), 512);
  } catch {
    return printable(text, 512);
  }
}

/** Throws for a malformed `traceparent`, because the hub would ignore it without an error. */
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
