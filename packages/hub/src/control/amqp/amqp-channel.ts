import { ANNOUNCEMENT_PROPERTY, type Announcement, CulvertError, type Identity, type Offer } from '@culvert/protocol';
import { abortReason, type Clock, type Timer } from '@culvert/stream';
import type { Receiver, Sender } from 'rhea';
import type { Principal } from '../../auth/principal.ts';
import type { ControlProtocol } from '../../observe/listener.ts';
import type { Answer, ChannelOrigin, ControlChannel } from '../control-channel.ts';
import { LatestAnnouncement } from '../latest-announcement.ts';
import { UnansweredOffers } from '../unanswered-offers.ts';
import type { DeviceNode } from './amqp-addresses.ts';
import { encodeOffer, newCorrelationId } from './amqp-offer.ts';
import { StreamLinks } from './amqp-stream-links.ts';
import { CredentialExpiry } from './credential-expiry.ts';
import { clientVersionOf, linkProperty } from './link-properties.ts';

/**
 * Milliseconds to wait for a device's first link before its attachment is reported: a link carries the client's software name, and clients attach
 * the first link as soon as their token is accepted. The Node SDK may attach none for hours.
 */
const REPORT_AFTER_MS = 2_000;

/** The connection of a channel, which other channels may share. */
export interface ChannelCarrier {
  /** Whether a message on this link would be sent immediately. */
  canSend(link: Sender): boolean;
  send(link: Sender, message: Buffer, tag?: Buffer): void;
  /** Calls the channel's `flush` when there may be credit. */
  awaitCredit(channel: AmqpChannel): void;
  offersChanged(channel: AmqpChannel): void;
  /** Ends the channel and sends the device the reason. */
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

/** A control channel over AMQP, of one identity. Its connection may carry channels of other identities too. */
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
  readonly #announcement = new LatestAnnouncement();
  /** By correlation id, in the order in which they were made. */
  readonly #pending = new Map<string, PendingOffer>();
  readonly #onReport: () => void;
  /** Undefined once the device's attachment was reported. */
  #reportTimer: Timer | undefined;
  #clientVersion: string | undefined;
  #endedWith: CulvertError | undefined;
  #resolveClosed: (error: CulvertError) => void = () => {};

  /**
   * @param options.onReport called once, before any other event of the channel: when the device attaches its first link, after
   * {@link REPORT_AFTER_MS}, or when the channel ends
   */
  constructor(
    origin: ChannelOrigin,
    options: { carrier: ChannelCarrier; clock: Clock; maxOffers: number; onReport: () => void },
  ) {
    this.identity = origin.identity;
    this.protocol = origin.protocol;
    this.remoteAddress = origin.remoteAddress;
    this.connectedAt = origin.connectedAt;
    this.unanswered = new UnansweredOffers(options.clock);
    this.#carrier = options.carrier;
    this.#maxOffers = options.maxOffers;
    this.#onReport = options.onReport;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#credential = new CredentialExpiry(origin.principal, options.clock, () =>
      this.close(new CulvertError('token_expired')),
    );
    this.#reportTimer = options.clock.setTimer(REPORT_AFTER_MS, () => this.#report());
  }

  get principal(): Principal {
    return this.#credential.principal;
  }

  /** Replaces the credential with a newer one. */
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

  get announcement(): Announcement | undefined {
    return this.#announcement.current;
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
    // Zero and an absent value both mean "no limit" (AMQP 1.0 §2.7.3).
    if (message.length > (link.max_message_size || Number.POSITIVE_INFINITY))
      throw new CulvertError('too_large', 'The request is larger than the messages that this device accepts.');
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

  /** Sends the waiting offers for which there is credit. */
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

  /** The device attached a link. */
  linkOpened(link: Sender | Receiver, node: DeviceNode): void {
    this.#clientVersion = clientVersionOf(link) ?? this.#clientVersion;
    this.#report();
    if (node !== 'streams') return;
    const announced = linkProperty(link, ANNOUNCEMENT_PROPERTY);
    if (announced !== undefined) this.announced(announced);
    this.#updateStreams(() => this.#streams.add(link));
  }

  /** The device announced what it can do, which replaces what it announced before. */
  announced(text: string | undefined): void {
    this.#announcement.replace(text);
  }

  /** A streams link was detached: fails the offers that were sent on it, or all offers if the device now takes none. */
  linkClosed(link: Sender | Receiver): void {
    this.#updateStreams(() => this.#streams.remove(link));
    for (const pending of [...this.#pending.values()]) {
      if (!this.takesOffers || pending.sentOn === link) pending.fail(new CulvertError('device_gone'));
    }
  }

  /** Handles the device's answer to an offer. Answers to unknown or settled offers are ignored. */
  answered(key: string, answer: Answer): void {
    this.#pending.get(key)?.answer(answer);
  }

  /** The channel has ended. */
  ended(error: CulvertError): void {
    if (this.#endedWith !== undefined) return;
    this.#endedWith = error;
    this.#credential.cancel();
    this.#report();
    for (const pending of [...this.#pending.values()]) pending.fail(new CulvertError('device_gone'));
    this.#resolveClosed(error);
  }

  #updateStreams(change: () => void): void {
    const before = this.takesOffers;
    change();
    if (this.takesOffers !== before) this.#carrier.offersChanged(this);
  }

  #report(): void {
    if (this.#reportTimer === undefined) return;
    this.#reportTimer.cancel();
    this.#reportTimer = undefined;
    this.#onReport();
  }
}
