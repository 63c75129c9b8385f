import { type Identity, identityName } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import { Allowance, KeyedEntries } from '../allowance.ts';
import type { EventSink, HubEvent } from '../events.ts';

/** Records of one identity's connects and disconnects that are written as they come: an evening of a bad radio link. */
const BURST = 20;

/** Milliseconds in which one more may be written. At 0.8 KB each a device that flaps all day then writes 2.3 MB, not 1.8 GB. */
const INTERVAL_MS = 30_000;

/** Events of a device that connects, disconnects, or is refused for connecting too often. */
export type ConnectionEvent = Extract<HubEvent, { type: 'device-attached' | 'device-detached' | 'connection-refused' }>;

/** An event to write to the resource log. */
export interface QuotaEvent {
  /** When it happened; milliseconds since the epoch. */
  readonly at: number;
  /** The number of earlier events of the same identity that were not recorded. */
  readonly unrecorded: number;
}

export interface ConnectionQuotaOptions {
  readonly clock: Clock;
  /** Receives the recorded events, and all events that the quota does not apply to (without the second argument). */
  readonly onEvent: (event: HubEvent, quota?: QuotaEvent) => void;
}

interface Entry {
  readonly allowance: Allowance;
  /** The newest event that is not recorded yet. */
  held: { readonly event: ConnectionEvent; readonly at: number } | undefined;
  /** Events between the last recorded one and the held one. */
  unrecorded: number;
  timer: Timer | undefined;
}

/**
 * Bounds how many records one identity's coming and going makes. Of a device that flaps the first ones are recorded, then the newest of every
 * half minute with the number of those left out before it; so the last record always tells how it ended, half a minute later at most.
 */
export class ConnectionQuota {
  readonly #options: ConnectionQuotaOptions;
  readonly #entries = new KeyedEntries<Entry>(
    () => ({
      allowance: new Allowance(BURST, INTERVAL_MS),
      held: undefined,
      unrecorded: 0,
      timer: undefined,
    }),
    ({ allowance, held }, now) => held !== undefined || !allowance.isFull(now),
  );
  #unrecorded = 0;

  constructor(options: ConnectionQuotaOptions) {
    this.#options = options;
  }

  /** Events that were left out since the start. */
  get unrecorded(): number {
    return this.#unrecorded;
  }

  /** A sink for the hub's events. */
  readonly observe: EventSink = (event) => {
    const identity = identityOf(event);
    if (identity === undefined) this.#options.onEvent(event);
    else this.#observe(event as ConnectionEvent, identity);
  };

  /** Hands on what is held: nothing comes any more. */
  flush(): void {
    for (const entry of this.#entries.values()) this.#release(entry);
  }

  #observe(event: ConnectionEvent, identity: Identity): void {
    const { clock, onEvent } = this.#options;
    const now = clock.now();
    const entry = this.#entries.of(identityName(identity), now);
    if (entry.held === undefined && entry.allowance.take(now)) {
      onEvent(event, { at: now, unrecorded: 0 });
      return;
    }
    if (entry.held !== undefined) {
      entry.unrecorded++;
      this.#unrecorded++;
    }
    entry.held = { event, at: now };
    entry.timer ??= clock.setTimer(entry.allowance.waitMs(now), () => {
      entry.allowance.take(clock.now());
      this.#release(entry);
    });
  }

  #release(entry: Entry): void {
    const { held, unrecorded } = entry;
    entry.timer?.cancel();
    Object.assign(entry, { held: undefined, unrecorded: 0, timer: undefined });
    if (held !== undefined) this.#options.onEvent(held.event, { at: held.at, unrecorded });
  }
}

/** Whose coming or going an event tells of; of refusals only that of an identity which has proved itself and comes too often. */
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
