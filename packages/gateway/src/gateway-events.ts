import type { CloseCause, ErrorCode, Side } from '@culvert/protocol';

/** The traffic in one direction of a stream. */
export interface DirectionCounters {
  /** Payload bytes. */
  readonly bytes: number;
  /** Complete WebSocket messages. */
  readonly messages: number;
}

/** The traffic of a stream, by the side that sent it. */
export interface StreamCounters {
  readonly fromService: DirectionCounters;
  readonly fromDevice: DirectionCounters;
  /** Bytes of both directions as limits count them: each message counts as at least 64 bytes. */
  readonly countedBytes: number;
}

/** The events that a gateway emits. They are part of the hub's event union. */
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
      /** A sentence with more detail than the cause, if there is any. */
      readonly detail?: string | undefined;
      /** Whether the stream was ever established. */
      readonly established: boolean;
      readonly durationMs: number;
    } & StreamCounters)
  /** A gateway thread died, and its streams ended. `thread` is its index from 0 to `threads` - 1, `streams` the number of those streams. */
  | {
      readonly type: 'gateway-thread-failed';
      readonly thread: number;
      readonly streams: number;
      readonly problem: string;
    }
  /** WebAssembly memory is not available, so streams use ordinary buffers, which takes 1.5 to 2 times the processor time. */
  | { readonly type: 'gateway-without-webassembly'; readonly problem: string }
  /** The dead thread was replaced. */
  | { readonly type: 'gateway-thread-replaced'; readonly thread: number };
