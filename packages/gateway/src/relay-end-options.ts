import type { CulvertError, Side } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { BufferPool } from './buffer-pool.ts';
import type { CloseStatus } from './close-frame.ts';
import type { GatewayLimits } from './gateway-limits.ts';
import type { ReadScheduler } from './read-scheduler.ts';

/** Callbacks of a `RelayPeer`. None is called after `RelayPeer.finish` or `RelayPeer.destroy`. */
export interface RelayPeerListener {
  /** The client's direction has ended, after all its frames: see {@link EndedBy}. */
  closing(status: CloseStatus): void;
  /** The client was lost (`stream_lost`), broke the protocol (`protocol_error`) or stopped reading (`stalled`). Called once. */
  failed(error: CulvertError): void;
  /** The client's connection closed after its direction had ended: nothing more can be delivered to it. */
  gone(): void;
  /** The client sent data for a peer that is gone. */
  undeliverable(): void;
}

/**
 * How a client's direction ended: by its close frame; by FIN, where FIN counts as an end (see `RelayPeer`); or by 64 empty messages in a row,
 * which a client that does not handle the end of a socket sends.
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
