import { CulvertError, type Identity, identityName } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import { Allowance, KeyedEntries } from '../observe/allowance.ts';
import type { EventSink } from '../observe/events.ts';

/** Connections of one identity that are accepted before the rate limit applies: as many as a test suite makes for one device in a minute. */
export const CONNECTIONS_AT_ONCE = 60;

/** Milliseconds until one more connection is accepted: a device can reconnect soon after a failure, and one that reconnects all the time costs little. */
export const CONNECTION_INTERVAL_MS = 5_000;

/**
 * Limits how often one identity may connect, over all transports. Each connection costs a lookup in the registry and an event to every subscriber.
 * Only authenticated connections count, so that a client without the device's credential cannot lock the device out.
 */
export class ConnectionAttempts {
  readonly #clock: Clock;
  readonly #onEvent: EventSink;
  readonly #entries = new KeyedEntries(
    () => ({ allowance: new Allowance(CONNECTIONS_AT_ONCE, CONNECTION_INTERVAL_MS), isReported: false }),
    ({ allowance }, now) => !allowance.isFull(now),
  );

  constructor(options: { readonly clock: Clock; readonly onEvent: EventSink }) {
    this.#clock = options.clock;
    this.#onEvent = options.onEvent;
  }

  /**
   * Counts a connection of an authenticated identity.
   * @throws CulvertError `too_many_requests`; its message says when the device may connect again
   */
  admit(identity: Identity): void {
    const now = this.#clock.now();
    const entry = this.#entries.of(identityName(identity), now);
    // The device no longer connects too often; if it does so again, that is reported again.
    if (entry.allowance.isFull(now)) entry.isReported = false;
    if (entry.allowance.take(now)) return;
    if (!entry.isReported) {
      entry.isReported = true;
      const { deviceId, moduleId } = identity;
      this.#onEvent({ type: 'device-reconnects-too-often', deviceId, moduleId });
    }
    const seconds = Math.ceil(entry.allowance.waitMs(now) / 1_000);
    throw new CulvertError('too_many_requests', `The device connects too often; it may connect again in ${seconds} s.`);
  }
}
