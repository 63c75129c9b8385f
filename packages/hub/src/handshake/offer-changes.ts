import type { Clock, Timer } from '@culvert/stream';
import type { ControlChannel } from '../control/control-channel.ts';
import { Allowance } from '../observe/allowance.ts';
import type { EventSink } from '../observe/events.ts';

/** Changes of one channel that are reported at once: a device subscribes once, and an application may turn offers off and on again. */
export const CHANGES_AT_ONCE = 10;

/** Milliseconds after which one more change may be reported. */
export const CHANGE_INTERVAL_MS = 5_000;

interface ReportState {
  readonly allowance: Allowance;
  /** The value in the last event; undefined before the first. */
  takesOffers: boolean | undefined;
  /** Set while a change waits for the allowance. When it fires, the value is reported if it differs from the last event's. */
  timer: Timer | undefined;
  isClosed: boolean;
}

/**
 * Emits an event when a channel starts or stops accepting offers. A device may change this at any rate, and each event goes to every subscriber of
 * device events, so the rate is limited: the last event emitted is current after {@link CHANGE_INTERVAL_MS} at most.
 */
export class OfferChanges {
  readonly #clock: Clock;
  readonly #onEvent: EventSink;
  readonly #states = new WeakMap<ControlChannel, ReportState>();

  constructor(options: { readonly clock: Clock; readonly onEvent: EventSink }) {
    this.#clock = options.clock;
    this.#onEvent = options.onEvent;
  }

  /** The channel's `takesOffers` changed. */
  changed(channel: ControlChannel): void {
    const state = this.#states.get(channel) ?? this.#begin(channel);
    if (state.timer !== undefined || state.isClosed) return;
    const waitMs = state.allowance.waitMs(this.#clock.now());
    if (waitMs === 0) this.#report(channel, state);
    else {
      state.timer = this.#clock.setTimer(waitMs, () => {
        state.timer = undefined;
        if (channel.takesOffers !== state.takesOffers) this.#report(channel, state);
      });
    }
  }

  #begin(channel: ControlChannel): ReportState {
    const allowance = new Allowance(CHANGES_AT_ONCE, CHANGE_INTERVAL_MS);
    const state: ReportState = { allowance, takesOffers: undefined, timer: undefined, isClosed: false };
    this.#states.set(channel, state);
    void channel.closed.then(() => {
      state.isClosed = true;
      state.timer?.cancel();
    });
    return state;
  }

  #report(channel: ControlChannel, state: ReportState): void {
    state.allowance.take(this.#clock.now());
    const { identity, takesOffers } = channel;
    state.takesOffers = takesOffers;
    this.#onEvent({ type: 'device-offers-changed', ...identity, takesOffers });
  }
}
