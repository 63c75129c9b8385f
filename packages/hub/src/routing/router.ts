import { CulvertError } from '@culvert/protocol';
import { type Clock, deadline, linkSignals } from '@culvert/stream';
import type { Principal } from '../auth/principal.ts';
import type { Answer, ChannelRegistrar, ControlChannel, Offer } from '../control/control-channel.ts';

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
  readonly #channels = new Map<string, ControlChannel>();
  /** Those who wait for a device to take offers; as many as there are held requests, which are bounded. */
  readonly #waiting = new Map<string, Set<(channel: ControlChannel) => void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  attach(channel: ControlChannel): void {
    const older = this.#channels.get(channel.deviceId);
    this.#channels.set(channel.deviceId, channel);
    older?.close(new CulvertError('taken_over'));
    void channel.closed.then(() => {
      if (this.#channels.get(channel.deviceId) === channel) this.#channels.delete(channel.deviceId);
    });
    this.offersChanged(channel);
  }

  offersChanged(channel: ControlChannel): void {
    if (!channel.takesOffers || this.#channels.get(channel.deviceId) !== channel) return;
    const waiting = this.#waiting.get(channel.deviceId);
    this.#waiting.delete(channel.deviceId);
    for (const wake of waiting ?? []) wake(channel);
  }

  /** The device's live channel; undefined when it is offline. */
  channel(deviceId: string): ControlChannel | undefined {
    return this.#channels.get(deviceId);
  }

  /** Every live channel. */
  channels(): IterableIterator<ControlChannel> {
    return this.#channels.values();
  }

  /**
   * Offers a stream to a device, waiting for the device first if need be, and returns its answer and who gave it.
   * @throws CulvertError `device_offline`, `device_gone`, `too_many_requests`; the signal's reason
   */
  async offer(deviceId: string, offer: Offer, terms: OfferTerms): Promise<{ answer: Answer; principal: Principal }> {
    const channel = await this.#reachable(deviceId, terms);
    terms.onOffered();
    return { answer: await channel.offer(offer, terms.signal), principal: channel.principal };
  }

  async #reachable(deviceId: string, terms: OfferTerms): Promise<ControlChannel> {
    const channel = this.#channels.get(deviceId);
    if (channel?.takesOffers) return channel;
    const offline = () => new CulvertError('device_offline');
    if (terms.connectMs === 0) throw offline();
    const patience = deadline(this.#clock, terms.connectMs, offline);
    const either = linkSignals([patience.signal, terms.signal]);
    try {
      return await this.#nextChannel(deviceId, either.signal);
    } finally {
      either.unlink();
      patience.cancel();
    }
  }

  #nextChannel(deviceId: string, signal: AbortSignal): Promise<ControlChannel> {
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(deviceId) ?? new Set();
      this.#waiting.set(deviceId, waiting);
      const giveUp = () => {
        waiting.delete(wake);
        if (waiting.size === 0 && this.#waiting.get(deviceId) === waiting) this.#waiting.delete(deviceId);
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
