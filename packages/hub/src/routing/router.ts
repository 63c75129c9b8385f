import { CulvertError, type Identity, identityName, type Offer } from '@culvert/protocol';
import { type Clock, deadline, linkSignals } from '@culvert/stream';
import type { Answer, ChannelRegistrar, ControlChannel } from '../control/control-channel.ts';

/** How an offer is to be carried. */
export interface OfferTerms {
  /** Milliseconds to wait for a device that takes no offers now. */
  readonly connectMs: number;
  /** Ends the whole attempt; its reason is thrown. */
  readonly signal: AbortSignal;
  /** Told just before the device is asked. */
  readonly onOffered: () => void;
}

/**
 * Who is online on this hub, and the way to offer a device a stream. An entry lives exactly as long as its channel: presence is
 * never stored. Another implementation will carry offers between hub nodes.
 */
export class Router implements ChannelRegistrar {
  readonly #clock: Clock;
  /** By identity name, as below. */
  readonly #channels = new Map<string, ControlChannel>();
  /** Those who wait for a device to take offers; as many as there are held requests, which are bounded. */
  readonly #waiting = new Map<string, Set<(channel: ControlChannel) => void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  attach(channel: ControlChannel): void {
    const name = identityName(channel.identity);
    const older = this.#channels.get(name);
    if (older === channel) return;
    this.#channels.set(name, channel);
    older?.close(new CulvertError('taken_over'));
    void channel.closed.then(() => {
      if (this.#channels.get(name) === channel) this.#channels.delete(name);
    });
    this.offersChanged(channel);
  }

  offersChanged(channel: ControlChannel): void {
    const name = identityName(channel.identity);
    if (!channel.takesOffers || this.#channels.get(name) !== channel) return;
    const waiting = this.#waiting.get(name);
    this.#waiting.delete(name);
    for (const wake of waiting ?? []) wake(channel);
  }

  /** The identity's live channel; undefined when it is offline. */
  channel(identity: Identity): ControlChannel | undefined {
    return this.#channels.get(identityName(identity));
  }

  /** How many devices hold a live channel; their modules do not count. */
  get connectedDevices(): number {
    let count = 0;
    for (const { identity } of this.#channels.values()) if (identity.moduleId === undefined) count++;
    return count;
  }

  /** Every live channel. */
  channels(): IterableIterator<ControlChannel> {
    return this.#channels.values();
  }

  /**
   * Offers a stream to a device or module, waiting for it first if need be, and returns its answer and the channel it came by.
   * @throws CulvertError `device_offline`, `device_gone`, `too_many_requests`; the signal's reason
   */
  async offer(
    identity: Identity,
    offer: Offer,
    terms: OfferTerms,
  ): Promise<{ answer: Answer; channel: ControlChannel }> {
    const channel = await this.#reachable(identityName(identity), terms);
    terms.onOffered();
    return { answer: await channel.offer(offer, terms.signal), channel };
  }

  async #reachable(name: string, terms: OfferTerms): Promise<ControlChannel> {
    const channel = this.#channels.get(name);
    if (channel?.takesOffers) return channel;
    const offline = () => new CulvertError('device_offline');
    if (terms.connectMs === 0) throw offline();
    const patience = deadline(this.#clock, terms.connectMs, offline);
    const either = linkSignals([patience.signal, terms.signal]);
    try {
      return await this.#nextChannel(name, either.signal);
    } finally {
      either.unlink();
      patience.cancel();
    }
  }

  #nextChannel(name: string, signal: AbortSignal): Promise<ControlChannel> {
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(name) ?? new Set();
      this.#waiting.set(name, waiting);
      const giveUp = () => {
        waiting.delete(wake);
        if (waiting.size === 0 && this.#waiting.get(name) === waiting) this.#waiting.delete(name);
        reject(signal.reason);
      };
      const wake = (channel: ControlChannel) => {
        signal.removeEventListener('abort', giveUp);
        resolve(channel);
      };
      waiting.add(wake);
      if (signal.aborted) giveUp();
      else signal.addEventListener('abort', giveUp, { once: true });
    });
  }
}
