import { type CloseCause, CulvertError, closeCauseFromError } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import type { RelayPeerListener } from './relay-end-options.ts';
import type { RelayPeer } from './relay-peer.ts';

/** A guest who left, or was sent away, before the other side came. */
export interface Departure {
  readonly streamId: string;
  readonly guest: RelayPeer;
  readonly cause: CloseCause;
  /** With what it was sent away; undefined when it left. */
  readonly error: CulvertError | undefined;
  readonly waitedMs: number;
}

interface Waiting {
  readonly guest: RelayPeer;
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

  /** Guests waiting. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Bytes kept for the guests (see `RelayPeer.bufferedBytes`). */
  get bufferedBytes(): number {
    let sum = 0;
    for (const { guest } of this.#waiting.values()) sum += guest.bufferedBytes;
    return sum;
  }

  has(streamId: string): boolean {
    return this.#waiting.has(streamId);
  }

  /** Seats a guest: from now on it is told when the other side does not come before `expiresAt`. */
  wait(streamId: string, guest: RelayPeer, expiresAt: number): void {
    const since = this.#clock.now();
    const timeout = this.#clock.setTimer(expiresAt - since, () => {
      this.reject(streamId, new CulvertError('handshake_timeout'));
    });
    this.#waiting.set(streamId, { guest, since, timeout });
  }

  /** What a guest's end must tell while it waits: that it leaves. One that sent something and ended cleanly has not left. */
  listener(streamId: string): RelayPeerListener {
    return {
      closing: ({ code, reason }) => {
        // What it sent before it ended cleanly is the other side's, who gets it, and then the end, when it comes.
        if (code === 1000 && (this.#waiting.get(streamId)?.guest.bytes ?? 0) > 0) return;
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
      // Only after its close frame: it stays for what it sent.
      gone: () => undefined,
      undeliverable: () => undefined,
    };
  }

  /** The guest who waits, to be joined; it waits no longer. */
  take(streamId: string): RelayPeer | undefined {
    const waiting = this.#waiting.get(streamId);
    waiting?.timeout.cancel();
    this.#waiting.delete(streamId);
    return waiting?.guest;
  }

  /** Tells the guest who waits, if one does, that the stream will not be joined, and why. */
  reject(streamId: string, error: CulvertError, cause = closeCauseFromError(error.code)): boolean {
    const waiting = this.#waiting.get(streamId);
    if (waiting === undefined) return false;
    this.#depart(streamId, waiting, cause, error);
    waiting.guest.finishWith(error, 'now');
    return true;
  }

  /** {@link reject} for every guest. */
  sendAllAway(error: CulvertError): void {
    for (const streamId of [...this.#waiting.keys()]) this.reject(streamId, error);
  }

  /** Cuts every guest's connection. */
  destroy(): void {
    for (const [streamId, waiting] of [...this.#waiting]) {
      this.#depart(streamId, waiting, 'shutting_down');
      waiting.guest.destroy();
    }
  }

  #leave(streamId: string, how: 'ended' | 'lost' | 'protocol_error'): RelayPeer | undefined {
    const waiting = this.#waiting.get(streamId);
    if (waiting === undefined) return undefined;
    this.#depart(streamId, waiting, how === 'protocol_error' ? how : `${how}_by_${waiting.guest.side}`);
    return waiting.guest;
  }

  #depart(streamId: string, waiting: Waiting, cause: CloseCause, error?: CulvertError): void {
    this.take(streamId);
    const { guest, since } = waiting;
    this.#onDeparture({ streamId, guest, cause, error, waitedMs: this.#clock.now() - since });
  }
}
