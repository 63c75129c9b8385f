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
 * The devices online on this hub, and how to offer them streams. An entry exists exactly as long as its channel: presence is
 * never stored. Another implementation will carry offers between hub nodes.
 */
export class Router implements ChannelRegistrar {
  readonly #clock: Clock;
  /** Channels by identity name. */
  readonly #channels = new Map<string, ControlChannel>();
  /** The same channels by device id: a device's own and its modules'. */
  readonly #perDevice = new Map<string, Set<ControlChannel>>();
  /** Callers waiting for a device; as many as there are held requests, which are bounded. */
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

  /** The identity's live channel; undefined when it is offline. */
  channel(identity: Identity): ControlChannel | undefined {
    return this.#channels.get(identityName(identity));
  }

  /** The live channels of a device and of its modules. */
  channelsOf(deviceId: string): ControlChannel[] {
    return [...(this.#perDevice.get(deviceId) ?? [])];
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
   * Offers a stream to a device or module, waiting for it to come online if needed, and returns its answer and the channel that carried it.
   * @param offerFor makes the offer for the channel that carries it, which may tell more to some devices than to others
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
    const patience = deadline(this.#clock, options.connectMs, offline);
    const either = linkSignals([patience.signal, options.signal]);
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
