import type { CulvertError, Side } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { BufferPool } from './buffer-pool.ts';
import type { CloseStatus } from './close-frame.ts';
import type { GatewayLimits } from './gateway-limits.ts';
import type { ReadScheduler } from './read-scheduler.ts';

/** What an end tells whoever holds it. After `RelayPeer.finish` or `RelayPeer.destroy` it tells nothing more. */
export interface RelayPeerListener {
  /** The client's direction has ended, after all its frames: see {@link EndedBy}. */
  closing(status: CloseStatus): void;
  /** The client was lost (`stream_lost`), broke the protocol (`protocol_error`) or takes nothing any more (`stalled`). Told once. */
  failed(error: CulvertError): void;
  /** The client's connection ended after its direction had: nothing can be delivered to it any more. */
  gone(): void;
  /** The client sent something for one that is gone. */
  undeliverable(): void;
}

/**
 * How a client's direction ended: by its close frame; by FIN, where that is an end (see `RelayPeer`); or by the empty messages of one
 * that does not know how to end.
 */
export type EndedBy = 'close' | 'fin' | 'empty messages';

export interface RelayPeerOptions {
  readonly side: Side;
  readonly remoteAddress: string;
  /** Whether the client offered `culvert.stream.v1`: it copes with pings, and answers a close frame only when its own direction has ended. */
  readonly isV1: boolean;
  readonly clock: Clock;
  readonly limits: GatewayLimits;
  /** Where what is read and written lies; undefined does everything in ordinary buffers. */
  readonly memory: BufferPool | undefined;
  /** Shares the bytes read per event-loop iteration among the connections. */
  readonly readScheduler: ReadScheduler;
}
