import type { CloseCause, ErrorCode, Identity } from '@culvert/protocol';
import type { ControlProtocol } from './listener.ts';

/** What one direction carried. */
export interface Carried {
  /** Payload bytes. */
  readonly bytes: number;
  /** Whole WebSocket messages. */
  readonly messages: number;
}

/** The record of a stream, from its request on: who, from where, to what, when, how much, and why it ended. Times in ms since the epoch. */
export interface StreamRecord extends Identity {
  readonly streamId: string;
  readonly streamName: string;
  /** The principal who asked, such as `policy:service`. */
  readonly caller: string;
  /** From where it was asked for by REST. */
  readonly callerAddress: string;
  /** The `traceparent` header of the request (W3C Trace Context), if it had one. */
  readonly traceParent: string | undefined;
  /** `HOST:PORT` of the gateway its sides are sent to. */
  readonly gateway: string;
  readonly requestedAt: number;
  /** When the offer was sent to the device; undefined when it never was. */
  readonly offeredAt: number | undefined;
  readonly answeredAt: number | undefined;
  /** The device's control channel that answered. */
  readonly answeredBy:
    | {
        readonly principal: string;
        readonly protocol: ControlProtocol;
        readonly remoteAddress: string;
        /** What software the device says it is. */
        readonly clientVersion?: string | undefined;
      }
    | undefined;
  /** When the stream was established: both sides connected at the gateway. */
  readonly establishedAt: number | undefined;
  /** Addresses of the two sides at the gateway, once connected. */
  readonly serviceAddress: string | undefined;
  readonly deviceAddress: string | undefined;
  readonly endedAt: number;
  readonly cause: CloseCause;
  /** The error that ended it, where there was one. */
  readonly error: ErrorCode | undefined;
  /** One sentence: the error's text, the device's reason for a rejection, or the meaning of the cause. */
  readonly detail: string;
  readonly fromService: Carried;
  readonly fromDevice: Carried;
  /** Bytes of both directions as limits count them: each message as 64 at least. */
  readonly countedBytes: number;
}

/** A stream that has not ended. */
export type LiveStream = Omit<StreamRecord, 'endedAt' | 'cause' | 'error' | 'detail'>;
