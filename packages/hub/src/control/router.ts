import { CulvertError, type Identity, identityName, type Offer } from '@culvert/protocol';
import { type Clock, deadline, linkSignals } from '@culvert/stream';
import type { Answer, ChannelRegistrar, ControlChannel } from './control-channel.ts';

/** Options of an offer. */
export interface OfferOptions {
  /** Milliseconds to wait for a device that is offline or not subscribed to offers. */
  readonly connectMs: number;
  /** Cancels the offer; its reason is thrown. */
  readonly signal: AbortSignal;
  /** Called just before the offer is sent to the device. */
  readonly onOffered: () => void;
}

/**
 * The devices that are online on this hub; sends them offers. An entry exists exactly as long as its channel: presence is never stored. Another
 * implementation will carry offers between hub nodes.
 */
export class Router implements ChannelRegistrar {
  readonly #clock: Clock;
  /** Channels by identity name. */
  readonly #channels = new Map<string, ControlChannel>();
  /** The same channels by device id: the device's channel and the channels of its modules. */
  readonly #perDevice = new Map<string, Set<ControlChannel>>();
  /** Callers that wait for a device to come online, by identity name. Each belongs to a pending request, and the number of those is limited. */
  readonly #waiting = new Map<string, Set<(channel: ControlChannel) => void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  attach(channel: ControlChannel): void {
    const name = identityName(channel.identity);
    const older = this.#channels.get(name);
    if (older === channel) return;
    this.#channels.set(name, channel);
    const { deviceId } = channel.identity;
    const ofDevice = this.#perDevice.get(deviceId) ?? new Set();
    this.#perDevice.set(deviceId, ofDevice.add(channel));
    if (older !== undefined) ofDevice.delete(older);
    older?.close(new CulvertError('taken_over'));
    void channel.closed.then(() => {
      if (this.#channels.get(name) === channel) this.#channels.delete(name);
      ofDevice.delete(channel);
      if (ofDevice.size === 0 && this.#perDevice.get(deviceId) === ofDevice) this.#perDevice.delete(deviceId);
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

  /** The identity's live channel; undefined if the identity is offline. */
  channel(identity: Identity): ControlChannel | undefined {
    return this.#channels.get(identityName(identity));
  }

  /** The live channels of a device and of its modules. */
  channelsOf(deviceId: string): ControlChannel[] {
    return [...(this.#perDevice.get(deviceId) ?? [])];
  }

  /** The number of devices with a live channel, without modules. */
  get connectedDevices(): number {
    let count = 0;
    for (const { identity } of this.#channels.values()) if (identity.moduleId === undefined) count++;
    return count;
  }

  /** All live channels. */
  channels(): IterableIterator<ControlChannel> {
    return this.#channels.values();
  }

  /**
   * Offers a stream to a device or module, waiting for it to come online if necessary. Returns the answer and the channel that the offer was sent on.
   * @param offerFor creates the offer for the channel that it is sent on, because its fields depend on what that device has announced
   * @throws CulvertError `device_offline`, `device_gone`, `too_many_requests`; the signal's reason
   */
  async offer(
    identity: Identity,
    offerFor: (channel: ControlChannel) => Offer,
    options: OfferOptions,
  ): Promise<{ answer: Answer; channel: ControlChannel }> {
    const channel = await this.#reachable(identityName(identity), options);
    options.onOffered();
    return { answer: await channel.offer(offerFor(channel), options.signal), channel };
  }

  async #reachable(name: string, options: OfferOptions): Promise<ControlChannel> {
    const channel = this.#channels.get(name);
    if (channel?.takesOffers) return channel;
    const offline = () => new CulvertError('device_offline');
    if (options.connectMs === 0) throw offline();
    const timeout = deadline(this.#clock, options.connectMs, offline);
    const either = linkSignals([timeout.signal, options.signal]);
    try {
      return await this.#nextChannel(name, either.signal);
    } finally {
      either.unlink();
      timeout.cancel();
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
