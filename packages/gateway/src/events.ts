import type { CloseCause, ErrorCode, Side } from '@culvert/protocol';

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
  | {
      readonly type: 'stream-closed';
      readonly streamId: string;
      readonly cause: CloseCause;
      /** Whether the two sides ever met. */
      readonly established: boolean;
      readonly durationMs: number;
      /** Payload bytes and whole messages each way. */
      readonly fromService: { readonly bytes: number; readonly messages: number };
      readonly fromDevice: { readonly bytes: number; readonly messages: number };
    };
