import type { GatewayEvent } from '@culvert/gateway';
import { CulvertError, type Identity } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import type { Principal } from '../auth/principal.ts';
import { sessionKey } from '../observe/session-key.ts';

/** A requested or granted stream and the principals of its two sides. Exists from the request to the end of the stream. */
export interface StreamEntry {
  readonly streamId: string;
  /** The target device or module. */
  readonly identity: Identity;
  readonly streamName: string;
  /** The id of the session that the service asked for; undefined for a raw stream. */
  readonly sessionId?: string | undefined;
  readonly service: Principal;
  /** Undefined until the device has accepted. */
  readonly device: Principal | undefined;
  /** Milliseconds since the epoch. */
  readonly requestedAt: number;
  /** Ends the handshake with an error; false when the handshake is already over. */
  readonly endHandshake: (error: CulvertError) => boolean;
}

/** Ends a stream, or a waiting connection, at the gateway; returns whether there was one. */
export type EndAtGateway = (streamId: string, error: CulvertError) => unknown;

interface TrackedStream {
  entry: StreamEntry;
  /** The handshake's deadline. Cancelled when the stream is established, so that it does not end the established stream after 60 s. */
  expiry: Timer | undefined;
}

/**
 * The streams of this hub with the principals of both sides, so that a revocation can end them. The handshake and the gateway's events keep it
 * current; an entry whose two sides do not both connect is removed when its grants expire.
 */
export class StreamTable {
  readonly #clock: Clock;
  readonly #onUnpaired: (entry: StreamEntry, error: CulvertError) => void;
  readonly #streams = new Map<string, TrackedStream>();
  /** The streams of each session, oldest first; contains only sessions that have streams. */
  readonly #perSession = new Map<string, Set<string>>();
  /** Number of streams by device id, where the streams of a session count as one; contains only devices that have streams. */
  readonly #perDevice = new Map<string, number>();

  /**
   * @param options.onUnpaired called for a stream whose end neither the handshake nor the gateway reports: its grants expired, or it was
   * ended after the answer and before both sides had connected
   */
  constructor(options: { clock: Clock; onUnpaired: (entry: StreamEntry, error: CulvertError) => void }) {
    this.#clock = options.clock;
    this.#onUnpaired = options.onUnpaired;
  }

  /** @param expiresAt when the grants expire, in milliseconds since the epoch */
  add(entry: StreamEntry, expiresAt: number): void {
    const expiry = this.#clock.setTimer(Math.max(0, expiresAt - this.#clock.now()), () => {
      if (this.remove(entry.streamId)) this.#onUnpaired(entry, new CulvertError('handshake_timeout'));
    });
    this.#streams.set(entry.streamId, { entry, expiry });
    const key = keyOf(entry);
    const ofSession = key === undefined ? undefined : this.#perSession.get(key);
    if (ofSession !== undefined) ofSession.add(entry.streamId);
    else {
      this.#count(entry.identity, 1);
      if (key !== undefined) this.#perSession.set(key, new Set([entry.streamId]));
    }
  }

  /** Whether a session has a stream, whose place the next one takes in the limits. @param key of `sessionKey` */
  hasSession(key: string): boolean {
    return this.#perSession.has(key);
  }

  /**
   * Ends the oldest streams of a session, which a newer one has replaced.
   * @param keep the number of its streams that remain, the newest ones
   */
  endReplaced(key: string, keep: number, endAtGateway: EndAtGateway): void {
    const streamIds = [...(this.#perSession.get(key) ?? [])];
    const error = new CulvertError('taken_over', 'A newer stream of the same session took its place.');
    for (const streamId of streamIds.slice(0, Math.max(0, streamIds.length - keep))) {
      this.end(streamId, error, endAtGateway);
    }
  }

  /**
   * Ends a stream as {@link end} does, and with it all other streams of its session.
   * @returns undefined when there is no such stream; otherwise the id of its session, if it has one
   */
  endWithSession(
    streamId: string,
    error: CulvertError,
    endAtGateway: EndAtGateway,
  ): { readonly sessionId: string | undefined } | undefined {
    const entry = this.#streams.get(streamId)?.entry;
    if (entry === undefined) return undefined;
    const key = keyOf(entry);
    const others = key === undefined ? [] : [...(this.#perSession.get(key) ?? [])];
    for (const id of new Set([streamId, ...others])) this.end(id, error, endAtGateway);
    return { sessionId: entry.sessionId };
  }

  /** Records the device's principal when it accepts. False when the stream has ended meanwhile. */
  answered(streamId: string, device: Principal): boolean {
    const tracked = this.#streams.get(streamId);
    if (tracked === undefined) return false;
    tracked.entry = { ...tracked.entry, device };
    return true;
  }

  remove(streamId: string): boolean {
    const tracked = this.#streams.get(streamId);
    if (tracked === undefined) return false;
    tracked.expiry?.cancel();
    const key = keyOf(tracked.entry);
    const ofSession = key === undefined ? undefined : this.#perSession.get(key);
    ofSession?.delete(streamId);
    if (ofSession === undefined || ofSession.size === 0) {
      this.#count(tracked.entry.identity, -1);
      if (key !== undefined) this.#perSession.delete(key);
    }
    return this.#streams.delete(streamId);
  }

  #count({ deviceId }: Identity, change: 1 | -1): void {
    const count = this.ofDevice(deviceId) + change;
    if (count === 0) this.#perDevice.delete(deviceId);
    else this.#perDevice.set(deviceId, count);
  }

  /** Handles an event of the gateway. */
  observe(event: GatewayEvent): void {
    if (event.type === 'stream-established') {
      const tracked = this.#streams.get(event.streamId);
      tracked?.expiry?.cancel();
      if (tracked !== undefined) tracked.expiry = undefined;
    } else if (event.type === 'stream-closed') {
      this.remove(event.streamId);
    }
  }

  /** Ends a stream in any state: in its handshake, before both sides have connected, or established. False when there is no such stream. */
  end(streamId: string, error: CulvertError, endAtGateway: EndAtGateway): boolean {
    const entry = this.#streams.get(streamId)?.entry;
    if (entry === undefined) return false;
    this.remove(streamId);
    const atGateway = endAtGateway(streamId, error) === true;
    const inHandshake = entry.endHandshake(error);
    if (!atGateway && !inHandshake) this.#onUnpaired(entry, error);
    return true;
  }

  /** Calls {@link end} for every stream for which the predicate returns an error. */
  endMatching(matches: (entry: StreamEntry) => CulvertError | undefined, endAtGateway: EndAtGateway): void {
    for (const { entry } of [...this.#streams.values()]) {
      const error = matches(entry);
      if (error !== undefined) this.end(entry.streamId, error, endAtGateway);
    }
  }

  /** The number of streams to a device and its modules, each counted from its request; those of one session count as one. */
  ofDevice(deviceId: string): number {
    return this.#perDevice.get(deviceId) ?? 0;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** The largest number of streams of one device. */
  get mostOfOneDevice(): number {
    let most = 0;
    for (const count of this.#perDevice.values()) if (count > most) most = count;
    return most;
  }

  /** Removes all entries and reports them as unpaired, with `draining`; called when the hub stops. */
  clear(): void {
    for (const { entry } of [...this.#streams.values()]) {
      this.remove(entry.streamId);
      this.#onUnpaired(entry, new CulvertError('draining'));
    }
  }
}

function keyOf({ sessionId, service, identity }: StreamEntry): string | undefined {
  return sessionId === undefined ? undefined : sessionKey(sessionId, service.name, identity);
}
