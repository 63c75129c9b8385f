import type { CulvertError } from '@culvert/protocol';
import type { StreamCounters } from './gateway-events.ts';

/** The interface of a gateway, whether it runs in the hub's own thread or in several threads. */
export interface GatewayControl {
  /** Identifies this gateway in grants (`aud`): 128 random bits, so that a restart invalidates every earlier grant. */
  readonly bootId: string;
  /** Connections waiting for the other side. */
  readonly waitingConnections: number;
  /** Established streams whose sockets are not both closed. */
  readonly streams: number;
  /** Counters of an established stream; undefined for any other. Cheap: only reads memory. */
  counters(streamId: string): StreamCounters | undefined;
  /**
   * Ends a stream with the error's close code and message. Before it is established, its grants become invalid and a waiting connection
   * is closed; afterwards both sides are closed.
   * @returns whether there was a waiting connection or a stream to end
   */
  end(streamId: string, error: CulvertError): boolean;
  /**
   * Refuses further upgrades, closes waiting connections (their other side can no longer connect), waits for the streams to end by
   * themselves, and ends the rest after `graceMs` with `draining`.
   */
  close(graceMs: number): Promise<void>;
  /** Destroys every connection. */
  destroy(): void;
}
