import { type Announcement, CulvertError, type Identity, type Offer, type SessionAnswer } from '@culvert/protocol';
import { abortReason, type Clock } from '@culvert/stream';
import type { Principal } from '../../auth/principal.ts';
import type { ControlProtocol } from '../../observe/listener.ts';
import type { Answer, ChannelOrigin, ControlChannel, ControlDeps } from '../control-channel.ts';
import { LatestAnnouncement } from '../latest-announcement.ts';
import { UnansweredOffers } from '../unanswered-offers.ts';
import type { MqttLink, MqttLinkListener } from './mqtt-link.ts';

/** A control channel over MQTT. Turns the events of an {@link MqttLink} into the promises of the offers. */
export class MqttChannel implements ControlChannel, MqttLinkListener {
  readonly identity: Identity;
  readonly principal: Principal;
  readonly protocol: ControlProtocol;
  readonly remoteAddress: string;
  readonly connectedAt: number;
  readonly clientVersion: string | undefined;
  readonly sshHostKeys: readonly string[] | undefined;
  readonly closed: Promise<CulvertError>;
  readonly unanswered: UnansweredOffers;
  readonly #announcement = new LatestAnnouncement();
  readonly #link: MqttLink;
  readonly #onOffersChanged: (channel: MqttChannel) => void;
  readonly #onSessionReport: ControlDeps['onSessionReport'];
  /** Pending offers by request id. The session limits their number. */
  readonly #pending = new Map<string, { answer(answer: Answer): void; fail(error: CulvertError): void }>();
  #resolveClosed: (error: CulvertError) => void = () => {};

  constructor(
    link: MqttLink,
    origin: ChannelOrigin &
      Pick<ControlChannel, 'clientVersion' | 'sshHostKeys'> & { readonly announcement: string | undefined },
    options: {
      clock: Clock;
      onOffersChanged: (channel: MqttChannel) => void;
      onSessionReport?: ControlDeps['onSessionReport'];
    },
  ) {
    this.#link = link;
    this.identity = origin.identity;
    this.principal = origin.principal;
    this.protocol = origin.protocol;
    this.remoteAddress = origin.remoteAddress;
    this.connectedAt = origin.connectedAt;
    this.clientVersion = origin.clientVersion;
    this.sshHostKeys = origin.sshHostKeys;
    this.#announcement.replace(origin.announcement);
    this.#onOffersChanged = options.onOffersChanged;
    this.#onSessionReport = options.onSessionReport;
    this.unanswered = new UnansweredOffers(options.clock);
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  get announcement(): Announcement | undefined {
    return this.#announcement.current;
  }

  get takesOffers(): boolean {
    return this.#link.takesOffers;
  }

  async offer(offer: Offer, signal: AbortSignal): Promise<Answer> {
    if (signal.aborted) throw abortReason(signal);
    const requestId = this.#link.offer(offer);
    // The link ends during the write if too many bytes are queued for a device that does not read.
    if (this.#link.endedWith !== undefined) throw new CulvertError('device_gone');
    const outcome = this.unanswered.offered();
    return new Promise((resolve, reject) => {
      const removePending = (): void => {
        this.#pending.delete(requestId);
        signal.removeEventListener('abort', withdraw);
      };
      const withdraw = (): void => {
        removePending();
        this.#link.withdraw(requestId);
        const why = abortReason(signal);
        outcome.withdrawn(CulvertError.from(why));
        reject(why);
      };
      signal.addEventListener('abort', withdraw);
      this.#pending.set(requestId, {
        answer: (answer) => {
          removePending();
          outcome.answered();
          resolve(answer);
        },
        fail: (error) => {
          removePending();
          reject(error);
        },
      });
    });
  }

  close(error: CulvertError): void {
    this.#link.end(error);
  }

  offersChanged(): void {
    this.#onOffersChanged(this);
  }

  answered(
    requestId: string,
    { accepted, reason, session }: { accepted: boolean; reason: string; session: SessionAnswer | undefined },
  ): void {
    const chosen = session === undefined ? {} : { session };
    this.#pending.get(requestId)?.answer(accepted ? { accepted, ...chosen } : { accepted, reason });
  }

  announced(text: string): void {
    this.#announcement.replace(text);
  }

  sessionReported(text: string): void {
    this.#onSessionReport?.(this.identity, text);
  }

  ended(error: CulvertError): void {
    for (const pending of [...this.#pending.values()]) pending.fail(new CulvertError('device_gone'));
    this.#resolveClosed(error);
  }
}
