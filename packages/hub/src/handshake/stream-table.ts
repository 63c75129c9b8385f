import type { GatewayEvent } from '@culvert/gateway';
import { CulvertError, type Identity } from '@culvert/protocol';
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
  /** Ends the handshake, which then tells why; false when it is over. */
  readonly endHandshake: (error: CulvertError) => boolean;
}

/** Ends a stream, or a guest who waits for it, at the gateway; exactly true when there was one. */
export type EndAtGateway = (streamId: string, error: CulvertError) => unknown;

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
  readonly #onUnmet: (entry: StreamEntry, error: CulvertError) => void;
  readonly #streams = new Map<string, Held>();
  /** How many of them there are by device id; only devices that have some. */
  readonly #perDevice = new Map<string, number>();

  /**
   * @param options.onUnmet told of a stream that is over, of which neither the handshake nor the gateway tells: its grants expired, or it was
   * ended between the answer and the sides' coming
   */
  constructor(options: { clock: Clock; onUnmet: (entry: StreamEntry, error: CulvertError) => void }) {
    this.#clock = options.clock;
    this.#onUnmet = options.onUnmet;
  }

  /** @param expiresAt when the grants die, milliseconds since the epoch */
  add(entry: StreamEntry, expiresAt: number): void {
    const expiry = this.#clock.setTimer(Math.max(0, expiresAt - this.#clock.now()), () => {
      if (this.remove(entry.streamId)) this.#onUnmet(entry, new CulvertError('handshake_timeout'));
    });
    this.#streams.set(entry.streamId, { entry, expiry });
    this.#count(entry.identity, 1);
  }

  /** The device's answer names the principal that stands for the device's end. False when the stream has gone meanwhile. */
  answered(streamId: string, device: Principal): boolean {
    const held = this.#streams.get(streamId);
    if (held === undefined) return false;
    held.entry = { ...held.entry, device };
    return true;
  }

  remove(streamId: string): boolean {
    const held = this.#streams.get(streamId);
    if (held === undefined) return false;
    held.expiry?.cancel();
    this.#count(held.entry.identity, -1);
    return this.#streams.delete(streamId);
  }

  #count({ deviceId }: Identity, change: 1 | -1): void {
    const count = this.ofDevice(deviceId) + change;
    if (count === 0) this.#perDevice.delete(deviceId);
    else this.#perDevice.set(deviceId, count);
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

  /** Ends a stream wherever it stands: in its handshake, before its sides have come, or joined. False when there is none of this id. */
  end(streamId: string, error: CulvertError, endAtGateway: EndAtGateway): boolean {
    const entry = this.#streams.get(streamId)?.entry;
    if (entry === undefined) return false;
    this.remove(streamId);
    const atGateway = endAtGateway(streamId, error) === true;
    const inHandshake = entry.endHandshake(error);
    if (!atGateway && !inHandshake) this.#onUnmet(entry, error);
    return true;
  }

  /** {@link end} for every stream that the predicate gives an error for. */
  endMatching(matches: (entry: StreamEntry) => CulvertError | undefined, endAtGateway: EndAtGateway): void {
    for (const { entry } of [...this.#streams.values()]) {
      const error = matches(entry);
      if (error !== undefined) this.end(entry.streamId, error, endAtGateway);
    }
  }

  /** Streams to a device and its modules, from the request on. */
  ofDevice(deviceId: string): number {
    return this.#perDevice.get(deviceId) ?? 0;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** The most streams one device has. */
  get mostOfOneDevice(): number {
    let most = 0;
    for (const count of this.#perDevice.values()) if (count > most) most = count;
    return most;
  }

  /** For the hub's own end: nobody will come any more. */
  clear(): void {
    for (const { entry } of [...this.#streams.values()]) {
      this.remove(entry.streamId);
      this.#onUnmet(entry, new CulvertError('draining'));
    }
  }
}
