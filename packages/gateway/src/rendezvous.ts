import { type CloseCause, CulvertError, closeCauseFromError } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import type { RelayPeerListener } from './relay-end-options.ts';
import type { RelayPeer } from './relay-peer.ts';

/** A connection that left or was rejected before the other side came. */
export interface Departure {
  readonly streamId: string;
  readonly peer: RelayPeer;
  readonly cause: CloseCause;
  /** The error it was rejected with; undefined when it left by itself. */
  readonly error: CulvertError | undefined;
  readonly waitedMs: number;
}

interface Waiting {
  readonly peer: RelayPeer;
  readonly since: number;
  readonly timeout: Timer;
}

/** Where the first side of a stream waits for the second, whichever it is, until its grant expires. */
export class Rendezvous {
  readonly #clock: Clock;
  readonly #onDeparture: (departure: Departure) => void;
  readonly #waiting = new Map<string, Waiting>();

  constructor(clock: Clock, onDeparture: (departure: Departure) => void) {
    this.#clock = clock;
    this.#onDeparture = onDeparture;
  }

  /** Waiting connections. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Bytes kept for waiting connections (see `RelayPeer.bufferedBytes`). */
  get bufferedBytes(): number {
    let sum = 0;
    for (const { peer } of this.#waiting.values()) sum += peer.bufferedBytes;
    return sum;
  }

  has(streamId: string): boolean {
    return this.#waiting.has(streamId);
  }

  /** Registers a waiting connection: from now on it is told when the other side does not come before `expiresAt`. */
  wait(streamId: string, peer: RelayPeer, expiresAt: number): void {
    const since = this.#clock.now();
    const timeout = this.#clock.setTimer(expiresAt - since, () => {
      this.reject(streamId, new CulvertError('handshake_timeout'));
    });
    this.#waiting.set(streamId, { peer, since, timeout });
  }

  /** Handles the departure of a waiting connection. One that closed cleanly after sending data has not left. */
  listener(streamId: string): RelayPeerListener {
    return {
      closing: ({ code, reason }) => {
        // It closed cleanly after sending data: keep the data and the close frame for the other side.
        if (code === 1000 && (this.#waiting.get(streamId)?.peer.bytes ?? 0) > 0) return;
        const left = this.#leave(streamId, 'ended');
        left?.sendClose({ code, reason });
        left?.finish('now');
      },
      failed: (error) => {
        const protocolError = error.code === 'protocol_error';
        const left = this.#leave(streamId, protocolError ? 'protocol_error' : 'lost');
        if (protocolError) left?.finishWith(error, 'now');
        else left?.destroy();
      },
      // It closed cleanly before: what it sent is kept for the other side.
      gone: () => undefined,
      undeliverable: () => undefined,
    };
  }

  /** Removes the waiting connection, to be paired. */
  take(streamId: string): RelayPeer | undefined {
    const waiting = this.#waiting.get(streamId);
    waiting?.timeout.cancel();
    this.#waiting.delete(streamId);
    return waiting?.peer;
  }

  /** Closes the waiting connection of the stream, if there is one, with this error. */
  reject(streamId: string, error: CulvertError, cause = closeCauseFromError(error.code)): boolean {
    const waiting = this.#waiting.get(streamId);
    if (waiting === undefined) return false;
    this.#depart(streamId, waiting, cause, error);
    waiting.peer.finishWith(error, 'now');
    return true;
  }

  /** {@link reject} for every waiting connection. */
  rejectAll(error: CulvertError): void {
    for (const streamId of [...this.#waiting.keys()]) this.reject(streamId, error);
  }

  /** Destroys every waiting connection. */
  destroy(): void {
    for (const [streamId, waiting] of [...this.#waiting]) {
      this.#depart(streamId, waiting, 'shutting_down');
      waiting.peer.destroy();
    }
  }

  #leave(streamId: string, how: 'ended' | 'lost' | 'protocol_error'): RelayPeer | undefined {
    const waiting = this.#waiting.get(streamId);
    if (waiting === undefined) return undefined;
    this.#depart(streamId, waiting, how === 'protocol_error' ? how : `${how}_by_${waiting.peer.side}`);
    return waiting.peer;
  }

  #depart(streamId: string, waiting: Waiting, cause: CloseCause, error?: CulvertError): void {
    this.take(streamId);
    const { peer, since } = waiting;
    this.#onDeparture({ streamId, peer, cause, error, waitedMs: this.#clock.now() - since });
  }
}
