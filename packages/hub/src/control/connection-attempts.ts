import { CulvertError, type Identity, identityName } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import { Allowance, KeyedEntries } from '../observe/allowance.ts';
import type { EventSink } from '../observe/events.ts';

/** Connections of one identity that are let in as they come: what a test suite makes of one device in a minute. */
export const CONNECTIONS_AT_ONCE = 60;

/** Milliseconds in which one more is let in: a device comes back at once after any trouble, and one that does nothing else costs little. */
export const CONNECTION_INTERVAL_MS = 5_000;

/**
 * Bounds how often one identity is let in, over all transports: each time costs a lookup in the registry, and is told to everybody who follows.
 * Asked behind authentication, so that nobody can shut out a device whose key he does not have.
 */
export class ConnectionAttempts {
  readonly #clock: Clock;
  readonly #onEvent: EventSink;
  readonly #entries = new KeyedEntries(
    () => ({ allowance: new Allowance(CONNECTIONS_AT_ONCE, CONNECTION_INTERVAL_MS), isTold: false }),
    ({ allowance }, now) => !allowance.isFull(now),
  );

  constructor(options: { readonly clock: Clock; readonly onEvent: EventSink }) {
    this.#clock = options.clock;
    this.#onEvent = options.onEvent;
  }

  /**
   * An identity has proved itself and is about to be let in.
   * @throws CulvertError `too_many_requests`, with when to come back
   */
  admit(identity: Identity): void {
    const now = this.#clock.now();
    const entry = this.#entries.of(identityName(identity), now);
    // The condition has ended: report it again the next time.
    if (entry.allowance.isFull(now)) entry.isTold = false;
    if (entry.allowance.take(now)) return;
    if (!entry.isTold) {
      entry.isTold = true;
      const { deviceId, moduleId } = identity;
      this.#onEvent({ type: 'device-reconnects-too-often', deviceId, moduleId });
    }
    const seconds = Math.ceil(entry.allowance.waitMs(now) / 1_000);
    throw new CulvertError('too_many_requests', `The device connects too often; it may again in ${seconds} s.`);
  }
}
