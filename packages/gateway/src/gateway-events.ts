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

/** The events a gateway emits: its part of the hub's event union. */
export type GatewayEvent =
  | {
      readonly type: 'connection-waiting';
      readonly streamId: string;
      readonly side: Side;
      readonly remoteAddress: string;
    }
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
      /** The error that ended the stream; absent when a side closed it normally. */
      readonly error?: ErrorCode | undefined;
      /** A sentence, if there is more to say than the meaning of the cause. */
      readonly detail?: string | undefined;
      /** Whether the stream was ever established. */
      readonly established: boolean;
      readonly durationMs: number;
    } & StreamCounters)
  /** A gateway thread died, and with it the streams it carried. `thread` counts from 0 to `threads` - 1. */
  | {
      readonly type: 'gateway-thread-failed';
      readonly thread: number;
      readonly streams: number;
      readonly problem: string;
    }
  /** WebAssembly memory is not available: streams use ordinary buffers, at 1.5 to 2 times the processor time. */
  | { readonly type: 'gateway-without-webassembly'; readonly problem: string }
  /** The dead thread was replaced. */
  | { readonly type: 'gateway-thread-replaced'; readonly thread: number };
