import type { CloseCause, ErrorCode, Identity, SessionAnswer } from '@culvert/protocol';
import type { ControlProtocol } from './listener.ts';

/** The payload that one direction of a stream has carried. */
export interface Carried {
  /** Payload bytes. */
  readonly bytes: number;
  /** Whole WebSocket messages. */
  readonly messages: number;
}

/**
 * The record of a stream from its request to its end: the caller, the addresses, the target, the times, the bytes carried, and the cause of the end.
 * Times are in milliseconds since the epoch.
 */
export interface StreamRecord extends Identity {
  readonly streamId: string;
  readonly streamName: string;
  /** The principal that requested the stream, such as `policy:service`. */
  readonly caller: string;
  /** The remote address of the REST request for the stream. */
  readonly callerAddress: string;
  /** The `traceparent` header of the request (W3C Trace Context), if it had one. */
  readonly traceParent: string | undefined;
  /** The id of the session that the service asked for; undefined if it asked for a raw stream. */
  readonly sessionId: string | undefined;
  /** What both ends agreed on for the session; undefined for a raw stream, also one for which the service had asked for a session. */
  readonly session: SessionAnswer | undefined;
  /** `HOST:PORT` of the gateway that the grants of both sides name. */
  readonly gateway: string;
  readonly requestedAt: number;
  /** When the offer was sent to the device; undefined if it was never sent. */
  readonly offeredAt: number | undefined;
  readonly answeredAt: number | undefined;
  /** The device's control channel that answered. */
  readonly answeredBy:
    | {
        readonly principal: string;
        readonly protocol: ControlProtocol;
        readonly remoteAddress: string;
        /** The client software and version that the device reported. */
        readonly clientVersion?: string | undefined;
      }
    | undefined;
  /** When the stream was established: both sides connected at the gateway. */
  readonly establishedAt: number | undefined;
  /** The remote address of each side's connection to the gateway; undefined until that side has connected. */
  readonly serviceAddress: string | undefined;
  readonly deviceAddress: string | undefined;
  readonly endedAt: number;
  readonly cause: CloseCause;
  /** The error that ended the stream; undefined if no error did. */
  readonly error: ErrorCode | undefined;
  /** One sentence: the error's text, the device's reason for a rejection, or the meaning of the cause. */
  readonly detail: string;
  readonly fromService: Carried;
  readonly fromDevice: Carried;
  /** Bytes of both directions as the limits count them: a message shorter than 64 bytes counts as 64. */
  readonly countedBytes: number;
}

/** A stream that has not ended. */
export type LiveStream = Omit<StreamRecord, 'endedAt' | 'cause' | 'error' | 'detail'>;
