import { type Identity, identityName } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import { KeyedEntries } from './allowance.ts';
import type { EventSink } from './events.ts';

/**
 * Take-overs of one identity after which two programs are assumed to use it. A take-over is a new connection that replaces the previous one; a single
 * program causes one per hour, when it renews its token.
 */
const TAKE_OVERS = 4;

/** Milliseconds without a take-over after which the count restarts: agents that evict each other reconnect at least every ten minutes. */
const FORGET_MS = 900_000;

interface Entry {
  count: number;
  last: number;
  isReported: boolean;
  /** The remote addresses of evicted connections, the latest last; at most two. */
  addresses: readonly string[];
}

/**
 * Detects that two programs connect with one identity and evict each other. Emits `identity-contested` once, and again only after a quarter of an hour
 * without a take-over.
 */
export class ContestedIdentities {
  readonly #clock: Clock;
  readonly #onEvent: EventSink;
  readonly #entries = new KeyedEntries<Entry>(
    () => ({ count: 0, last: 0, isReported: false, addresses: [] }),
    ({ last }, now) => Math.abs(now - last) <= FORGET_MS,
  );

  constructor(options: { readonly clock: Clock; readonly onEvent: EventSink }) {
    this.#clock = options.clock;
    this.#onEvent = options.onEvent;
  }

  /** A sink for the hub's events. */
  readonly observe: EventSink = (event) => {
    if (event.type !== 'device-detached' || event.error !== 'taken_over') return;
    const identity: Identity = { deviceId: event.deviceId, moduleId: event.moduleId };
    const now = this.#clock.now();
    const entry = this.#entries.of(identityName(identity), now);
    if (Math.abs(now - entry.last) > FORGET_MS) Object.assign(entry, { count: 0, isReported: false, addresses: [] });
    entry.last = now;
    entry.count++;
    const from = event.remoteAddress;
    if (from !== undefined) entry.addresses = [...entry.addresses.filter((one) => one !== from), from].slice(-2);
    if (entry.count < TAKE_OVERS || entry.isReported) return;
    entry.isReported = true;
    const { count, addresses } = entry;
    this.#onEvent({ type: 'identity-contested', ...identity, takeOvers: count, addresses: addresses.join(', ') });
  };
}
