import type { CulvertError } from '@culvert/protocol';
import type { StreamCounters } from './gateway-events.ts';

/** The interface of a gateway, whether it runs in the hub's own thread or in several threads. */
export interface GatewayControl {
  /** Identifies this gateway in grants (`aud`). It has 128 random bits, new at each start, so that a restart invalidates all earlier grants. */
  readonly bootId: string;
  /** Connections waiting for the other side. */
  readonly waitingConnections: number;
  /** Established streams whose sockets are not both closed. */
  readonly streams: number;
  /** Counters of an established stream; undefined for any other. Cheap, because it only reads memory. */
  counters(streamId: string): StreamCounters | undefined;
  /**
   * Ends a stream with the error's close code and message. Before it is established, its grants become invalid and a waiting connection
   * is closed; afterwards both sides are closed.
   * @returns whether there was a waiting connection or a stream to end
   */
  end(streamId: string, error: CulvertError): boolean;
  /**
   * Refuses further upgrades and closes waiting connections, because their other side can no longer connect. Then waits until the streams have
   * ended; streams that are still open after `graceMs` are ended with the error `draining`.
   */
  close(graceMs: number): Promise<void>;
  /** Destroys every connection. */
  destroy(): void;
}
