import type { GatewayEvent } from '@culvert/gateway';
import type { CulvertError, Identity } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import type { Principal } from '../auth/principal.ts';

/** A stream, asked for or granted: who stands at its ends. It lives from the request to the end of the stream. */
export interface StreamEntry {
  readonly streamId: string;
  /** The device or module it leads to. */
  readonly identity: Identity;
  readonly streamName: string;
  readonly service: Principal;
  /** Known from the device's answer on. */
  readonly device: Principal | undefined;
  /** Milliseconds since the epoch. */
  readonly requestedAt: number;
  /** Tells the handshake, while it lasts, that what the stream stands on was taken away. */
  readonly onRevoked: (error: CulvertError) => void;
}

interface Held {
  entry: StreamEntry;
  /** Runs until the sides have met; disposed then, or it would end the stream at second 60. */
  expiry: Timer | undefined;
}

/**
 * The streams of this hub, so that a removed key or a disabled device ends them. Fed by the handshake and the gateway's events; an entry
 * whose sides never both come leaves with its grants.
 */
export class StreamTable {
  readonly #clock: Clock;
  readonly #onExpired: (entry: StreamEntry) => void;
  readonly #streams = new Map<string, Held>();

  /** @param options.onExpired told when the sides of a stream have not met before its grants expired */
  constructor(options: { clock: Clock; onExpired: (entry: StreamEntry) => void }) {
    this.#clock = options.clock;
    this.#onExpired = options.onExpired;
  }

  /** @param expiresAt when the grants die, milliseconds since the epoch */
  add(entry: StreamEntry, expiresAt: number): void {
    const expiry = this.#clock.setTimer(Math.max(0, expiresAt - this.#clock.now()), () => {
      if (this.remove(entry.streamId)) this.#onExpired(entry);
    });
    this.#streams.set(entry.streamId, { entry, expiry });
  }

  /** The device's answer names the principal that stands for the device's end. False when the stream has gone meanwhile. */
  answered(streamId: string, device: Principal): boolean {
    const held = this.#streams.get(streamId);
    if (held === undefined) return false;
    held.entry = { ...held.entry, device };
    return true;
  }

  remove(streamId: string): boolean {
    this.#streams.get(streamId)?.expiry?.cancel();
    return this.#streams.delete(streamId);
  }

  /** Follows the gateway. */
  observe(event: GatewayEvent): void {
    if (event.type === 'stream-established') {
      const held = this.#streams.get(event.streamId);
      held?.expiry?.cancel();
      if (held !== undefined) held.expiry = undefined;
    } else if (event.type === 'stream-closed') {
      this.remove(event.streamId);
    }
  }

  /** Streams that `error` now applies to, by a predicate over their entries. */
  endMatching(
    matches: (entry: StreamEntry) => CulvertError | undefined,
    end: (streamId: string, error: CulvertError) => void,
  ): void {
    for (const { entry } of [...this.#streams.values()]) {
      const error = matches(entry);
      if (error === undefined) continue;
      end(entry.streamId, error);
      entry.onRevoked(error);
    }
  }

  get size(): number {
    return this.#streams.size;
  }

  /** Cancels every timer; for the hub's own end. */
  clear(): void {
    for (const streamId of [...this.#streams.keys()]) this.remove(streamId);
  }
}
