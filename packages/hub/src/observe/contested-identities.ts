import { type Identity, identityName } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import { KeyedEntries } from './allowance.ts';
import type { EventSink } from './events.ts';

/** Take-overs of one identity after which two programs are taken to share it. A single program causes one an hour, when it renews its token. */
const TAKE_OVERS = 4;

/** Milliseconds after which an earlier take-over no longer counts: agents in a dispute come at most ten minutes apart. */
const FORGET_MS = 900_000;

interface Entry {
  count: number;
  last: number;
  isTold: boolean;
  /** Where those that were evicted came from, the latest last; two at most. */
  addresses: readonly string[];
}

/** Notices that two programs connect with one identity and evict each other, and tells it once, until they have left off for a quarter of an hour. */
export class ContestedIdentities {
  readonly #clock: Clock;
  readonly #onEvent: EventSink;
  readonly #entries = new KeyedEntries<Entry>(
    () => ({ count: 0, last: 0, isTold: false, addresses: [] }),
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
    if (Math.abs(now - entry.last) > FORGET_MS) Object.assign(entry, { count: 0, isTold: false, addresses: [] });
    entry.last = now;
    entry.count++;
    const from = event.remoteAddress;
    if (from !== undefined) entry.addresses = [...entry.addresses.filter((one) => one !== from), from].slice(-2);
    if (entry.count < TAKE_OVERS || entry.isTold) return;
    entry.isTold = true;
    const { count, addresses } = entry;
    this.#onEvent({ type: 'identity-contested', ...identity, takeOvers: count, addresses: addresses.join(', ') });
  };
}
