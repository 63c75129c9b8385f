import { CulvertError } from '@culvert/protocol';
import type { GrantClaims } from '@culvert/protocol/grant';
import type { Clock } from '@culvert/stream';
import type { GatewayEvent, StreamCounters } from '../events.ts';
import type { GatewayLimits } from '../limits.ts';
import { UsedGrants } from '../used-grants.ts';

interface Place {
  /** The id of the thread that has the stream: where its first side landed. */
  readonly owner: number;
  readonly since: number;
  /** A guest was seated, so that an end will be told. */
  isSeated: boolean;
  isJoined: boolean;
  /** See `Steering.counters`. */
  counters: Float64Array | undefined;
}

/** A stream whose thread died, as far as the main thread knows it. */
export interface LostStream extends StreamCounters {
  readonly streamId: string;
  readonly isSeated: boolean;
  readonly isJoined: boolean;
  readonly ageMs: number;
}

const NOTHING: StreamCounters = {
  fromService: { bytes: 0, messages: 0 },
  fromDevice: { bytes: 0, messages: 0 },
  countedBytes: 0,
};

/**
 * Which thread of a gateway has which stream: the one table for all threads, so that a grant opens one connection in all of them together
 * and their limits are one. A stream's place is where its first side landed.
 */
export class StreamPlaces {
  readonly #clock: Clock;
  readonly #limits: GatewayLimits;
  readonly #usedGrants: UsedGrants;
  readonly #places = new Map<string, Place>();
  #joined = 0;

  constructor(clock: Clock, limits: GatewayLimits) {
    this.#clock = clock;
    this.#limits = limits;
    this.#usedGrants = new UsedGrants(clock);
  }

  /** Streams that are not joined yet. */
  get guests(): number {
    return this.#places.size - this.#joined;
  }

  /** Streams that are joined. */
  get streams(): number {
    return this.#joined;
  }

  /**
   * Uses a grant that landed in the thread `landedIn`.
   * @returns the thread that has its stream
   * @throws CulvertError as `UsedGrants`, or `too_many_requests`
   */
  place(claims: GrantClaims, landedIn: number): number {
    this.#usedGrants.check(claims);
    const known = this.#places.get(claims.streamId);
    const isFull = this.guests >= this.#limits.maxGuests || this.#places.size >= this.#limits.maxStreams;
    if (known === undefined && isFull) {
      throw new CulvertError('too_many_requests', 'The gateway carries as many streams as it may.');
    }
    this.#usedGrants.use(claims);
    if (known !== undefined) return known.owner;
    const since = this.#clock.now();
    this.#places.set(claims.streamId, {
      owner: landedIn,
      since,
      isSeated: false,
      isJoined: false,
      counters: undefined,
    });
    return landedIn;
  }

  /** The thread refused a client of this stream: if nobody else came, there is no such stream. */
  unseated(streamId: string): void {
    if (this.#places.get(streamId)?.isSeated === false) this.#places.delete(streamId);
  }

  count(streamId: string, shared: Float64Array): void {
    const place = this.#places.get(streamId);
    if (place !== undefined) place.counters = shared;
  }

  counters(streamId: string): StreamCounters | undefined {
    const place = this.#places.get(streamId);
    return place?.isJoined === true ? carried(place) : undefined;
  }

  /** Follows what the threads tell. */
  observe(event: GatewayEvent): void {
    if (event.type === 'guest-arrived') {
      const place = this.#places.get(event.streamId);
      if (place !== undefined) place.isSeated = true;
    } else if (event.type === 'stream-established') {
      const place = this.#places.get(event.streamId);
      if (place === undefined) return;
      place.isJoined = true;
      this.#joined++;
    } else if (event.type === 'stream-closed') {
      this.#remove(event.streamId);
      // As `Gateway` does in its own thread.
      if (!event.established) this.#barLeft(event.streamId);
    }
  }

  /** The thread that has a stream, if one has. Before its sides have met, its grants are taken no more. */
  end(streamId: string, error: CulvertError): { readonly owner: number; readonly isSeated: boolean } | undefined {
    const place = this.#places.get(streamId);
    if (place?.isJoined !== true) this.#usedGrants.bar(streamId, error);
    return place;
  }

  /** A thread is gone: forgets its streams, of which a grant that was not used can join none any more. */
  lost(owner: number): LostStream[] {
    const lost: LostStream[] = [];
    for (const [streamId, place] of this.#places) {
      if (place.owner !== owner) continue;
      this.#remove(streamId);
      this.#barLeft(streamId);
      const { isSeated, isJoined, since } = place;
      lost.push({ streamId, isSeated, isJoined, ageMs: this.#clock.now() - since, ...carried(place) });
    }
    return lost;
  }

  /** Forgets which grants were used, to free the timers. */
  clear(): void {
    this.#usedGrants.clear();
  }

  #remove(streamId: string): void {
    if (this.#places.get(streamId)?.isJoined === true) this.#joined--;
    this.#places.delete(streamId);
  }

  #barLeft(streamId: string): void {
    this.#usedGrants.bar(streamId, new CulvertError('withdrawn', 'The other side left before the stream was joined.'));
  }
}

function carried({ counters }: Place): StreamCounters {
  if (counters === undefined) return NOTHING;
  const [serviceBytes = 0, serviceMessages = 0, serviceCounted = 0] = counters;
  const [deviceBytes = 0, deviceMessages = 0, deviceCounted = 0] = counters.subarray(3);
  return {
    fromService: { bytes: serviceBytes, messages: serviceMessages },
    fromDevice: { bytes: deviceBytes, messages: deviceMessages },
    countedBytes: serviceCounted + deviceCounted,
  };
}
