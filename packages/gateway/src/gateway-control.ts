import type { CulvertError } from '@culvert/protocol';
import type { StreamCounters } from './events.ts';

/** What a hub needs of its gateway, whether that is in the hub's own thread or several threads. */
export interface GatewayControl {
  /** Names it in grants (`aud`): 128 random bits, so that a restart makes every earlier grant void. */
  readonly bootId: string;
  /** Guests waiting for their other side. */
  readonly guests: number;
  /** Streams whose two sides have met and whose sockets are not both closed. */
  readonly streams: number;
  /** What a joined stream has carried so far; undefined for one that is not joined here. Costs nothing but the reading. */
  counters(streamId: string): StreamCounters | undefined;
  /**
   * Ends a stream with the error's close code and message. Before its sides have met: its grants are taken no more, and a guest
   * who waits is told. After: both sides are told.
   * @returns whether there was a guest or a stream to end
   */
  end(streamId: string, error: CulvertError): boolean;
  /**
   * Takes no more upgrades, tells the waiting guests (nobody can come to them any more), waits for the streams to end by
   * themselves, and ends what is left after `graceMs` with `draining`.
   */
  close(graceMs: number): Promise<void>;
  /** Cuts every connection now. */
  destroy(): void;
}
