import type { CloseCause, ErrorCode, Identity } from '@culvert/protocol';
import type { ControlProtocol } from './door.ts';

/** What one direction carried. */
export interface Carried {
  /** Payload bytes. */
  readonly bytes: number;
  /** Whole WebSocket messages. */
  readonly messages: number;
}

/** What is known of a stream, from its request on: who, from where, to what, when, how much, and why it ended. Times in ms since the epoch. */
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
  /** When the device was asked; undefined: it never was. */
  readonly offeredAt: number | undefined;
  readonly answeredAt: number | undefined;
  /** What answered: the device's control channel. */
  readonly answeredBy:
    | {
        readonly principal: string;
        readonly protocol: ControlProtocol;
        readonly remoteAddress: string;
        /** What software the device says it is. */
        readonly clientVersion?: string | undefined;
      }
    | undefined;
  /** When both sides had met. */
  readonly establishedAt: number | undefined;
  /** Addresses of the two sides at the gateway, once they have come. */
  readonly serviceAddress: string | undefined;
  readonly deviceAddress: string | undefined;
  readonly endedAt: number;
  readonly cause: CloseCause;
  /** The error that ended it, where there was one. */
  readonly error: ErrorCode | undefined;
  /** One sentence: the error's, the device's reason to reject, or what the cause means. */
  readonly detail: string;
  readonly fromService: Carried;
  readonly fromDevice: Carried;
  /** Bytes of both directions as limits count them: each message as 64 at least. */
  readonly countedBytes: number;
}

/** A stream that is not over. */
export type LiveStream = Omit<StreamRecord, 'endedAt' | 'cause' | 'error' | 'detail'>;
