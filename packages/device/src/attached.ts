import { type CulvertError, formatAnnouncement, LIMITS } from '@culvert/protocol';
import { Backoff, type Clock, type Timer } from '@culvert/stream';
import type { Attempt, AttemptListener, StartAttempt } from './attempt.ts';
import type { ControlChannel } from './control-channel.ts';

/** Milliseconds after which an attached connection counts as stable, and the back-off is reset. */
const STABLE_MS = 30_000;

/** Callbacks of the attached state. */
export interface AttachedListener {
  /** The connection has lasted {@link STABLE_MS}. */
  onStable(): void;
  /** A new channel of this client, with a new token, has replaced this one. */
  onRenewed(channel: ControlChannel): void;
  /** The channel was lost while a new one was being opened. From now on the listener owns the attempt `renewal`. */
  onBroken(renewal: Attempt, error: CulvertError): void;
  /** The channel was lost, and no new one is being opened. */
  onLost(error: CulvertError): void;
}

/** Dependencies of the attached state. */
export interface AttachedContext {
  readonly clock: Clock;
  readonly random: () => number;
  readonly startAttempt: StartAttempt;
}

/**
 * The device is attached and renews its token in time. The hub closes a channel whose token has expired, and the token of an open channel
 * cannot be replaced. Therefore a second channel with a new token is opened while the first is still open. It replaces the first, which the hub
 * then closes. The renewal waits up to a minute for unanswered offers, so that they can still be answered. Open streams have their own
 * connections and are not affected.
 */
export class Attached implements AttemptListener {
  readonly name = 'attached';
  readonly #channel: ControlChannel;
  readonly #context: AttachedContext;
  readonly #listener: AttachedListener;
  readonly #backoff: Backoff;
  readonly #stable: Timer;
  /** Starts the next step of the renewal. */
  #timer: Timer | undefined;
  #renewal: Attempt | undefined;
  /** The error with which the channel ended; undefined while it is open. */
  #ended: CulvertError | undefined;
  #left = false;

  constructor(channel: ControlChannel, context: AttachedContext, listener: AttachedListener) {
    const { clock, random } = context;
    this.#channel = channel;
    this.#context = context;
    this.#listener = listener;
    this.#backoff = new Backoff({ random });
    this.#stable = clock.setTimer(STABLE_MS, () => listener.onStable());
    const { renewAt } = channel.proof;
    if (renewAt !== undefined)
      this.#timer = clock.setTimer(Math.max(0, renewAt - clock.now()), () => this.#renewWhenIdle());
    void channel.closed.then((error) => this.#end(error));
  }

  /** Announces this text on the channel, unless the hub has it already; undefined: that the device can do nothing beyond the Azure protocol. */
  announce(text: string | undefined): void {
    if (text !== undefined) this.#channel.announce(text);
    else if (this.#channel.hasAnnounced) this.#channel.announce(formatAnnouncement({}));
  }

  /** Reports on the connections of a session. */
  report(text: string): void {
    this.#channel.report(text);
  }

  leave(): Promise<void> {
    this.#left = true;
    this.#stable.cancel();
    this.#timer?.cancel();
    this.#channel.offers.whenEmpty(undefined);
    this.#renewal?.abort();
    return this.#channel.close();
  }

  /** Renews as soon as no offer is unanswered, at the latest after a minute or half of the token's remaining lifetime. */
  #renewWhenIdle(): void {
    const { clock } = this.#context;
    const left = (this.#channel.proof.expiresAt ?? Number.POSITIVE_INFINITY) - clock.now();
    const maxWaitMs = Math.max(0, Math.min(LIMITS.handshakeMs, left / 2));
    this.#timer = clock.setTimer(maxWaitMs, () => this.#renew());
    this.#channel.offers.whenEmpty(() => this.#renew());
  }

  #renew(): void {
    this.#timer?.cancel();
    this.#channel.offers.whenEmpty(undefined);
    this.#renewal = this.#context.startAttempt(this);
  }

  /** @internal */
  onAttached(channel: ControlChannel): void {
    this.#renewal = undefined;
    this.#listener.onRenewed(channel);
  }

  /** @internal */
  onFailed(error: CulvertError): void {
    this.#renewal = undefined;
    if (this.#ended !== undefined) this.#listener.onLost(error);
    else this.#timer = this.#context.clock.setTimer(this.#backoff.next(), () => this.#renew());
  }

  #end(error: CulvertError): void {
    if (this.#left) return;
    this.#ended = error;
    const renewal = this.#renewal;
    // This client's new connection has taken over and is about to attach, so nothing is lost.
    if (renewal !== undefined && error.code === 'taken_over') return;
    this.#renewal = undefined;
    if (renewal !== undefined) this.#listener.onBroken(renewal, error);
    else this.#listener.onLost(error);
  }
}
