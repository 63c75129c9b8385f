import type { CloseCause, ErrorCode, Side } from '@culvert/protocol';

/** What one direction of a stream carried. */
export interface DirectionCounters {
  /** Payload bytes. */
  readonly bytes: number;
  /** Whole WebSocket messages. */
  readonly messages: number;
}

/** What a stream carried, by the side it came from. */
export interface StreamCounters {
  readonly fromService: DirectionCounters;
  readonly fromDevice: DirectionCounters;
  /** Bytes of both directions as limits count them: each message as 64 at least. */
  readonly countedBytes: number;
}

/** What a gateway tells: the part of the hub's event union that happens here. */
export type GatewayEvent =
  | { readonly type: 'guest-arrived'; readonly streamId: string; readonly side: Side; readonly remoteAddress: string }
  | {
      readonly type: 'grant-refused';
      readonly remoteAddress: string;
      readonly error: ErrorCode;
      readonly detail: string;
    }
  | {
      readonly type: 'stream-established';
      readonly streamId: string;
      readonly deviceAddress: string;
      readonly serviceAddress: string;
    }
  | ({
      readonly type: 'stream-closed';
      readonly streamId: string;
      readonly cause: CloseCause;
      /** The error that ended it; absent when a side did, by its close frame. */
      readonly error?: ErrorCode | undefined;
      /** A sentence, where there is more to say than what the cause means. */
      readonly detail?: string | undefined;
      /** Whether the two sides ever met. */
      readonly established: boolean;
      readonly durationMs: number;
    } & StreamCounters)
  /** A thread of the gateway died, and the streams that it carried with it: so many, counted from 0 to `threads` - 1. */
  | {
      readonly type: 'gateway-thread-failed';
      readonly thread: number;
      readonly streams: number;
      readonly problem: string;
    }
  /** Another thread has taken its place. */
  | { readonly type: 'gateway-thread-replaced'; readonly thread: number };
