import { type Identity, identityName } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import { Allowance, KeyedEntries } from '../allowance.ts';
import type { EventSink, HubEvent } from '../events.ts';

/** Events of one identity that are recorded at once, before the rate limit applies: enough for a bad radio link of one evening. */
const BURST = 20;

/** Milliseconds until one more event may be recorded. At 0.8 KB per record, a device that reconnects all day writes 2.3 MB, not 1.8 GB. */
const INTERVAL_MS = 30_000;

/** An event of a device that connects, disconnects, or is refused because it connects too often. */
export type ConnectionEvent = Extract<HubEvent, { type: 'device-attached' | 'device-detached' | 'connection-refused' }>;

/** An event to write to the resource log. */
export interface QuotaEvent {
  /** When the event happened, in milliseconds since the epoch. */
  readonly at: number;
  /** The number of earlier events of the same identity that were not recorded. */
  readonly unrecorded: number;
}

export interface ConnectionQuotaOptions {
  readonly clock: Clock;
  /** Receives the events to record, and (without the second argument) all events that the quota does not apply to. */
  readonly onEvent: (event: HubEvent, quota?: QuotaEvent) => void;
}

interface Entry {
  readonly allowance: Allowance;
  /** The newest event that is not recorded yet; it waits for the timer. */
  pending: { readonly event: ConnectionEvent; readonly at: number } | undefined;
  /** The number of events between the last recorded event and the pending one. */
  unrecorded: number;
  timer: Timer | undefined;
}

/**
 * Limits the number of records that one identity's connects and disconnects produce. If a device reconnects all the time, its first events are
 * recorded at once, then the newest event of every half minute, with the number of events before it that were not recorded. So the last record
 * always shows the final state, at most half a minute late.
 */
export class ConnectionQuota {
  readonly #options: ConnectionQuotaOptions;
  readonly #entries = new KeyedEntries<Entry>(
    () => ({
      allowance: new Allowance(BURST, INTERVAL_MS),
      pending: undefined,
      unrecorded: 0,
      timer: undefined,
    }),
    ({ allowance, pending }, now) => pending !== undefined || !allowance.isFull(now),
  );
  #unrecorded = 0;

  constructor(options: ConnectionQuotaOptions) {
    this.#options = options;
  }

  /** The number of events that were not recorded since the start. */
  get unrecorded(): number {
    return this.#unrecorded;
  }

  /** A sink for the hub's events. */
  readonly observe: EventSink = (event) => {
    const identity = identityOf(event);
    if (identity === undefined) this.#options.onEvent(event);
    else this.#observe(event as ConnectionEvent, identity);
  };

  /** Records the pending event of every identity at once. Call it after the last event. */
  flush(): void {
    for (const entry of this.#entries.values()) this.#release(entry);
  }

  #observe(event: ConnectionEvent, identity: Identity): void {
    const { clock, onEvent } = this.#options;
    const now = clock.now();
    const entry = this.#entries.of(identityName(identity), now);
    if (entry.pending === undefined && entry.allowance.take(now)) {
      onEvent(event, { at: now, unrecorded: 0 });
      return;
    }
    if (entry.pending !== undefined) {
      entry.unrecorded++;
      this.#unrecorded++;
    }
    entry.pending = { event, at: now };
    entry.timer ??= clock.setTimer(entry.allowance.waitMs(now), () => {
      entry.allowance.take(clock.now());
      this.#release(entry);
    });
  }

  #release(entry: Entry): void {
    const { pending, unrecorded } = entry;
    entry.timer?.cancel();
    Object.assign(entry, { pending: undefined, unrecorded: 0, timer: undefined });
    if (pending !== undefined) this.#options.onEvent(pending.event, { at: pending.at, unrecorded });
  }
}

/** The identity that an event counts for. Of refusals, only those of an authenticated identity that connects too often count. */
function identityOf(event: HubEvent): Identity | undefined {
  switch (event.type) {
    case 'device-attached':
    case 'device-detached':
      return { deviceId: event.deviceId, moduleId: event.moduleId };
    case 'connection-refused':
      return event.error === 'too_many_requests' ? event.claimed : undefined;
    default:
      return undefined;
  }
}
