import { CulvertError, type Identity, type Offer } from '@culvert/protocol';
import { abortReason, type Clock, type Timer } from '@culvert/stream';
import type { Receiver, Sender } from 'rhea';
import type { Principal } from '../../auth/principal.ts';
import type { ControlProtocol } from '../../observe/listener.ts';
import type { Answer, ChannelOrigin, ControlChannel } from '../control-channel.ts';
import { UnansweredOffers } from '../unanswered-offers.ts';
import type { DeviceNode } from './amqp-addresses.ts';
import { encodeOffer, newCorrelationId } from './amqp-offer.ts';
import { StreamLinks } from './amqp-stream-links.ts';
import { CredentialExpiry } from './credential-expiry.ts';
import { clientVersionOf } from './link-properties.ts';

/**
 * Milliseconds to wait for a device's first link before its attachment is announced: a link carries the client's software name, and clients attach
 * the first link as soon as their token is accepted. The Node SDK may attach none for hours.
 */
const INTRODUCTION_MS = 2_000;

/** The connection that carries a channel, maybe with others. */
export interface ChannelCarrier {
  /** Whether a message on this link would be sent immediately. */
  canSend(link: Sender): boolean;
  send(link: Sender, message: Buffer, tag?: Buffer): void;
  /** Calls the channel's `flush` when there may be credit. */
  awaitCredit(channel: AmqpChannel): void;
  offersChanged(channel: AmqpChannel): void;
  /** Ends the channel, telling the device why. */
  close(channel: AmqpChannel, error: CulvertError): void;
}

interface PendingOffer {
  readonly message: Buffer;
  readonly tag: Buffer;
  /** The link it was sent on; undefined while it waits for credit. */
  sentOn: Sender | undefined;
  answer(answer: Answer): void;
  fail(error: CulvertError): void;
}

/** A control channel over AMQP: that of one identity on a connection which may carry others. */
export class AmqpChannel implements ControlChannel {
  readonly identity: Identity;
  readonly protocol: ControlProtocol;
  readonly remoteAddress: string;
  readonly connectedAt: number;
  readonly closed: Promise<CulvertError>;
  readonly unanswered: UnansweredOffers;
  readonly #carrier: ChannelCarrier;
  readonly #maxOffers: number;
  readonly #credential: CredentialExpiry;
  readonly #streams = new StreamLinks();
  /** By correlation id, in the order in which they were made. */
  readonly #pending = new Map<string, PendingOffer>();
  readonly #onIntroduced: () => void;
  /** Undefined once the device's connect event was emitted. */
  #introduction: Timer | undefined;
  #clientVersion: string | undefined;
  #endedWith: CulvertError | undefined;
  #resolveClosed: (error: CulvertError) => void = () => {};

  /** @param options.onIntroduced told once, before anything happens on the channel: the device has said what software it is, if it ever will */
  constructor(
    origin: ChannelOrigin,
    options: { carrier: ChannelCarrier; clock: Clock; maxOffers: number; onIntroduced: () => void },
  ) {
    this.identity = origin.identity;
    this.protocol = origin.protocol;
    this.remoteAddress = origin.remoteAddress;
    this.connectedAt = origin.connectedAt;
    this.unanswered = new UnansweredOffers(options.clock);
    this.#carrier = options.carrier;
    this.#maxOffers = options.maxOffers;
    this.#onIntroduced = options.onIntroduced;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#credential = new CredentialExpiry(origin.principal, options.clock, () =>
      this.close(new CulvertError('token_expired')),
    );
    this.#introduction = options.clock.setTimer(INTRODUCTION_MS, () => this.#introduce());
  }

  get principal(): Principal {
    return this.#credential.principal;
  }

  /** The device has shown a newer credential. */
  renew(principal: Principal): void {
    this.#credential.renew(principal);
  }

  /** Why the channel ended; undefined while it lives. */
  get endedWith(): CulvertError | undefined {
    return this.#endedWith;
  }

  get clientVersion(): string | undefined {
    return this.#clientVersion;
  }

  get takesOffers(): boolean {
    return this.#endedWith === undefined && this.#streams.sender !== undefined;
  }

  async offer(offer: Offer, signal: AbortSignal): Promise<Answer> {
    if (signal.aborted) throw abortReason(signal);
    const link = this.#streams.sender;
    if (this.#endedWith !== undefined || link === undefined)
      throw new CulvertError('device_gone', 'The device does not take stream requests any more.');
    if (this.#pending.size >= this.#maxOffers)
      throw new CulvertError('too_many_requests', 'Too many stream requests await an answer of this device.');
    const tag = newCorrelationId();
    const message = encodeOffer(offer, tag);
    // Zero and none both mean "no limit" (AMQP 1.0 §2.7.3).
    if (message.length > (link.max_message_size || Number.POSITIVE_INFINITY))
      throw new CulvertError('too_large', 'The request is larger than the messages this device takes.');
    const outcome = this.unanswered.offered();
    return new Promise((resolve, reject) => {
      const key = tag.toString('hex');
      const settle = (): void => {
        this.#pending.delete(key);
        signal.removeEventListener('abort', withdraw);
      };
      const fail = (error: CulvertError): void => {
        settle();
        reject(error);
      };
      const withdraw = (): void => {
        const why = abortReason(signal);
        outcome.withdrawn(why);
        fail(why);
      };
      const answer = (given: Answer): void => {
        settle();
        outcome.answered();
        resolve(given);
      };
      signal.addEventListener('abort', withdraw);
      this.#pending.set(key, { message, tag, sentOn: undefined, answer, fail });
      this.flush();
    });
  }

  /** Sends the offers that wait, as far as there is credit. */
  flush(): void {
    const link = this.#streams.sender;
    if (link === undefined || this.#endedWith !== undefined) return;
    for (const pending of this.#pending.values()) {
      if (pending.sentOn !== undefined) continue;
      if (!this.#carrier.canSend(link)) {
        this.#carrier.awaitCredit(this);
        return;
      }
      pending.sentOn = link;
      this.#carrier.send(link, pending.message, pending.tag);
    }
  }

  close(error: CulvertError): void {
    if (this.#endedWith === undefined) this.#carrier.close(this, error);
  }

  /** A link of the device's was attached. */
  linkOpened(link: Sender | Receiver, node: DeviceNode): void {
    this.#clientVersion = clientVersionOf(link) ?? this.#clientVersion;
    this.#introduce();
    if (node === 'streams') this.#changingOffers(() => this.#streams.add(link));
  }

  /** A streams link is gone: what was asked on it, and what nobody can answer now, is not waited for. */
  linkClosed(link: Sender | Receiver): void {
    this.#changingOffers(() => this.#streams.remove(link));
    for (const pending of [...this.#pending.values()]) {
      if (!this.takesOffers || pending.sentOn === link) pending.fail(new CulvertError('device_gone'));
    }
  }

  /** The device answered; offers that are not known, or not any more, are passed over. */
  answered(key: string, answer: Answer): void {
    this.#pending.get(key)?.answer(answer);
  }

  /** The channel is over. */
  ended(error: CulvertError): void {
    if (this.#endedWith !== undefined) return;
    this.#endedWith = error;
    this.#credential.cancel();
    this.#introduce();
    for (const pending of [...this.#pending.values()]) pending.fail(new CulvertError('device_gone'));
    this.#resolveClosed(error);
  }

  #changingOffers(change: () => void): void {
    const before = this.takesOffers;
    change();
    if (this.takesOffers !== before) this.#carrier.offersChanged(this);
  }

  #introduce(): void {
    if (this.#introduction === undefined) return;
    this.#introduction.cancel();
    this.#introduction = undefined;
    this.#onIntroduced();
  }
}
