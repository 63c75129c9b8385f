import { CulvertError } from '@culvert/protocol';
import type { GrantClaims } from '@culvert/protocol/grant';
import type { Clock } from '@culvert/stream';
import type { GatewayEvent, StreamCounters } from '../gateway-events.ts';
import type { GatewayLimits } from '../gateway-limits.ts';
import { UsedGrants } from '../used-grants.ts';

interface Entry {
  /** The id of the thread that owns the stream: the one that accepted its first side. */
  readonly owner: number;
  readonly since: number;
  /** A connection was registered, so its end will be reported. */
  isRegistered: boolean;
  isEstablished: boolean;
  /** See `Steering.counters`. */
  counters: Float64Array | undefined;
}

/** What the main thread knows of a stream whose thread died. */
export interface LostStream extends StreamCounters {
  readonly streamId: string;
  readonly isRegistered: boolean;
  readonly isEstablished: boolean;
  readonly ageMs: number;
}

const NOTHING: StreamCounters = {
  fromService: { bytes: 0, messages: 0 },
  fromDevice: { bytes: 0, messages: 0 },
  countedBytes: 0,
};

/**
 * Which gateway thread owns which stream: one table for all threads, so that a grant opens one connection in all of them together
 * and limits count over all. A stream is owned by the thread that accepted its first side.
 */
export class StreamDirectory {
  readonly #clock: Clock;
  readonly #limits: GatewayLimits;
  readonly #usedGrants: UsedGrants;
  readonly #entries = new Map<string, Entry>();
  #established = 0;

  constructor(clock: Clock, limits: GatewayLimits) {
    this.#clock = clock;
    this.#limits = limits;
    this.#usedGrants = new UsedGrants(clock);
  }

  /** Streams not established yet. */
  get waitingConnections(): number {
    return this.#entries.size - this.#established;
  }

  /** Established streams. */
  get streams(): number {
    return this.#established;
  }

  /**
   * Uses a grant presented to the thread `acceptedBy`.
   * @returns the thread that owns its stream
   * @throws CulvertError as `UsedGrants`, or `too_many_requests`
   */
  assignOwner(claims: GrantClaims, acceptedBy: number): number {
    this.#usedGrants.check(claims);
    const known = this.#entries.get(claims.streamId);
    const isFull = this.waitingConnections >= this.#limits.maxWaiting || this.#entries.size >= this.#limits.maxStreams;
    if (known === undefined && isFull) {
      throw new CulvertError('too_many_requests', 'The gateway carries as many streams as it may.');
    }
    this.#usedGrants.use(claims);
    if (known !== undefined) return known.owner;
    const since = this.#clock.now();
    this.#entries.set(claims.streamId, {
      owner: acceptedBy,
      since,
      isRegistered: false,
      isEstablished: false,
      counters: undefined,
    });
    return acceptedBy;
  }

  /** The thread refused a client of this stream: without another client the entry is removed. */
  unregistered(streamId: string): void {
    if (this.#entries.get(streamId)?.isRegistered === false) this.#entries.delete(streamId);
  }

  count(streamId: string, shared: Float64Array): void {
    const entry = this.#entries.get(streamId);
    if (entry !== undefined) entry.counters = shared;
  }

  counters(streamId: string): StreamCounters | undefined {
    const entry = this.#entries.get(streamId);
    return entry?.isEstablished === true ? carried(entry) : undefined;
  }

  /** A sink for the threads' events. */
  observe(event: GatewayEvent): void {
    if (event.type === 'connection-waiting') {
      const entry = this.#entries.get(event.streamId);
      if (entry !== undefined) entry.isRegistered = true;
    } else if (event.type === 'stream-established') {
      const entry = this.#entries.get(event.streamId);
      if (entry === undefined) return;
      entry.isEstablished = true;
      this.#established++;
    } else if (event.type === 'stream-closed') {
      this.#remove(event.streamId);
      // As `Gateway` does in its own thread.
      if (!event.established) this.#barLeft(event.streamId);
    }
  }

  /** The owner of a stream, if any. Before the stream is established, this also invalidates its grants. */
  end(streamId: string, error: CulvertError): { readonly owner: number; readonly isRegistered: boolean } | undefined {
    const entry = this.#entries.get(streamId);
    if (entry?.isEstablished !== true) this.#usedGrants.bar(streamId, error);
    return entry;
  }

  /** A thread died: removes its streams; their unused grants become useless. */
  lost(owner: number): LostStream[] {
    const lost: LostStream[] = [];
    for (const [streamId, entry] of this.#entries) {
      if (entry.owner !== owner) continue;
      this.#remove(streamId);
      this.#barLeft(streamId);
      const { isRegistered, isEstablished, since } = entry;
      lost.push({ streamId, isRegistered, isEstablished, ageMs: this.#clock.now() - since, ...carried(entry) });
    }
    return lost;
  }

  /** Clears the used grants and their timers. */
  clear(): void {
    this.#usedGrants.clear();
  }

  #remove(streamId: string): void {
    if (this.#entries.get(streamId)?.isEstablished === true) this.#established--;
    this.#entries.delete(streamId);
  }

  #barLeft(streamId: string): void {
    this.#usedGrants.bar(streamId, new CulvertError('withdrawn', 'The other side left before the stream was joined.'));
  }
}

function carried({ counters }: Entry): StreamCounters {
  if (counters === undefined) return NOTHING;
  const [serviceBytes = 0, serviceMessages = 0, serviceCounted = 0] = counters;
  const [deviceBytes = 0, deviceMessages = 0, deviceCounted = 0] = counters.subarray(3);
  return {
    fromService: { bytes: serviceBytes, messages: serviceMessages },
    fromDevice: { bytes: deviceBytes, messages: deviceMessages },
    countedBytes: serviceCounted + deviceCounted,
  };
}
