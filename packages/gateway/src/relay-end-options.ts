import type { CulvertError, Side } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { BufferPool } from './buffer-pool.ts';
import type { CloseStatus } from './close-frame.ts';
import type { GatewayLimits } from './gateway-limits.ts';
import type { ReadScheduler } from './read-scheduler.ts';

/** Callbacks of a `RelayPeer`. None is called after `RelayPeer.finish` or `RelayPeer.destroy`. */
export interface RelayPeerListener {
  /** The client's direction has ended, and all its frames were read: see {@link EndedBy}. */
  closing(status: CloseStatus): void;
  /** The client was lost (`stream_lost`), broke the protocol (`protocol_error`) or stopped reading (`stalled`). Called once. */
  failed(error: CulvertError): void;
  /** The client's connection closed after its direction had ended: nothing more can be delivered to it. */
  gone(): void;
  /** The client sent data for the other side, which has disconnected. */
  undeliverable(): void;
}

/**
 * How a client's direction ended: by its close frame; by FIN, if FIN counts as an end (see `RelayPeer`); or by 64 consecutive empty messages, which
 * a client sends that does not handle the end of its local socket.
 */
export type EndedBy = 'close' | 'fin' | 'empty messages';

export interface RelayPeerOptions {
  readonly side: Side;
  readonly remoteAddress: string;
  /** Whether the client offered `culvert.stream.v1`. It then answers pings, and answers a close frame only when its own direction has ended. */
  readonly isV1: boolean;
  readonly clock: Clock;
  readonly limits: GatewayLimits;
  /** The pool for bytes read and written; if undefined, only ordinary buffers are used. */
  readonly memory: BufferPool | undefined;
  /** Shares the bytes read per event-loop iteration among the connections. */
  readonly readScheduler: ReadScheduler;
}
