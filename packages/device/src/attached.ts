import { type CulvertError, LIMITS } from '@culvert/protocol';
import { Backoff, type Clock, type Timer } from '@culvert/stream';
import type { Attempt, AttemptListener, StartAttempt } from './attempt.ts';
import type { ControlChannel } from './control-channel.ts';

/** Milliseconds attached after which the connection counts as stable and the back-off is reset. */
const STABLE_MS = 30_000;

/** Callbacks of the attached state. */
export interface AttachedListener {
  /** The connection is stable. */
  onStable(): void;
  /** A newer channel of this client, with a newer token, has taken over. */
  onRenewed(channel: ControlChannel): void;
  /** The channel broke while a newer one was being opened; the listener takes over the attempt. */
  onBroken(renewal: Attempt, error: CulvertError): void;
  onLost(error: CulvertError): void;
}

/** Dependencies of the attached state. */
export interface AttachedContext {
  readonly clock: Clock;
  readonly random: () => number;
  readonly startAttempt: StartAttempt;
}

/**
 * The device is attached and renews its token in time: the hub closes a channel whose token has expired, and there is no way to
 * replace the token on it. So a second channel is opened while the first is still up; it takes over, and the hub closes
 * the first. An offer that awaits an answer is not cut off: the renewal waits for it, a minute at most. Running streams have
 * their own connections and are not affected.
 */
export class Attached implements AttemptListener {
  readonly name = 'attached';
  readonly #channel: ControlChannel;
  readonly #context: AttachedContext;
  readonly #listener: AttachedListener;
  readonly #backoff: Backoff;
  readonly #stable: Timer;
  /** For the next step of the renewal. */
  #timer: Timer | undefined;
  #renewal: Attempt | undefined;
  /** Why the channel ended, once it has. */
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
    if (renewAt !== undefined) this.#timer = clock.setTimer(Math.max(0, renewAt - clock.now()), () => this.#quiet());
    void channel.closed.then((error) => this.#end(error));
  }

  leave(): Promise<void> {
    this.#left = true;
    this.#stable.cancel();
    this.#timer?.cancel();
    this.#channel.offers.whenEmpty(undefined);
    this.#renewal?.abort();
    return this.#channel.close();
  }

  /** Renews as soon as no offer awaits its answer, but well before the token expires. */
  #quiet(): void {
    const { clock } = this.#context;
    const left = (this.#channel.proof.expiresAt ?? Number.POSITIVE_INFINITY) - clock.now();
    const patience = Math.max(0, Math.min(LIMITS.handshakeMs, left / 2));
    this.#timer = clock.setTimer(patience, () => this.#renew());
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
    // This client's newer connection took over and is about to attach: nothing was lost.
    if (renewal !== undefined && error.code === 'taken_over') return;
    this.#renewal = undefined;
    if (renewal !== undefined) this.#listener.onBroken(renewal, error);
    else this.#listener.onLost(error);
  }
}
