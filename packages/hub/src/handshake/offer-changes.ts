import type { Clock, Timer } from '@culvert/stream';
import type { ControlChannel } from '../control/control-channel.ts';
import { Allowance } from '../observe/allowance.ts';
import type { EventSink } from '../observe/events.ts';

/** Changes of one channel that are told as they come: a device subscribes once, and an application may turn its offers off and on again. */
export const CHANGES_AT_ONCE = 10;

/** Milliseconds in which one more is told. */
export const CHANGE_INTERVAL_MS = 5_000;

interface Told {
  readonly allowance: Allowance;
  /** What was told last. */
  takesOffers: boolean | undefined;
  /** Until the next may be told; what the channel is then is told, once. */
  timer: Timer | undefined;
  isOver: boolean;
}

/**
 * Emits an event when a channel starts or stops accepting offers. A device may change this at any rate, and each event goes to every subscriber of
 * device events, so the rate is limited: the last event emitted is current after {@link CHANGE_INTERVAL_MS} at most.
 */
export class OfferChanges {
  readonly #clock: Clock;
  readonly #onEvent: EventSink;
  readonly #told = new WeakMap<ControlChannel, Told>();

  constructor(options: { readonly clock: Clock; readonly onEvent: EventSink }) {
    this.#clock = options.clock;
    this.#onEvent = options.onEvent;
  }

  /** The channel's `takesOffers` changed. */
  changed(channel: ControlChannel): void {
    const told = this.#told.get(channel) ?? this.#begin(channel);
    if (told.timer !== undefined || told.isOver) return;
    const waitMs = told.allowance.waitMs(this.#clock.now());
    if (waitMs === 0) this.#tell(channel, told);
    else {
      told.timer = this.#clock.setTimer(waitMs, () => {
        told.timer = undefined;
        if (channel.takesOffers !== told.takesOffers) this.#tell(channel, told);
      });
    }
  }

  #begin(channel: ControlChannel): Told {
    const allowance = new Allowance(CHANGES_AT_ONCE, CHANGE_INTERVAL_MS);
    const told: Told = { allowance, takesOffers: undefined, timer: undefined, isOver: false };
    this.#told.set(channel, told);
    void channel.closed.then(() => {
      told.isOver = true;
      told.timer?.cancel();
    });
    return told;
  }

  #tell(channel: ControlChannel, told: Told): void {
    told.allowance.take(this.#clock.now());
    const { identity, takesOffers } = channel;
    told.takesOffers = takesOffers;
    this.#onEvent({ type: 'device-offers-changed', ...identity, takesOffers });
  }
}
