import type { Duplex } from 'node:stream';
import {
  CONTROL_PATH,
  type CulvertError,
  type DeviceConnectionString,
  formatAuthority,
  formatHostPort,
  LIMITS,
} from '@culvert/protocol';
import { type DeviceOffer, DeviceSession } from '@culvert/protocol/mqtt';
import { abortReason, dialDuplex, type KnownHub, verifiedCertificate } from '@culvert/stream';
import { clientType } from './client-type.ts';
import { withClockFault } from './clock-fault.ts';
import { ControlConnection, type ControlConnectionListener } from './control-connection.ts';
import type { Credential, Proof } from './credential.ts';
import { type OfferHandling, PendingOffers } from './pending-offers.ts';

/** Settings of a client's control channels. */
export interface ChannelContext extends OfferHandling {
  readonly identity: DeviceConnectionString;
  readonly credential: Credential;
  readonly keepaliveSeconds: number;
  readonly sshHostKeys: readonly string[];
  /** The text of the client's current announcement; undefined when there is none. */
  readonly announcement: () => string | undefined;
}

/** The control channel of a device or module: its authenticated connection to the hub, and the offers received on it. */
export class ControlChannel implements ControlConnectionListener {
  /** The unanswered offers. */
  readonly offers: PendingOffers;
  /** The credential that the device authenticated with. */
  readonly proof: Proof;
  /** Resolves with the error that ended the channel; never if {@link close} ended it. */
  readonly closed: Promise<CulvertError>;
  readonly #connection: ControlConnection;
  /** The text that the hub received last; undefined when it received none. */
  #announced: string | undefined;
  /** Resolves with undefined when the device is attached, or with the error that prevented it. */
  readonly #attached: Promise<CulvertError | undefined>;
  // Promise executors run synchronously, so both functions are assigned before they can be called.
  #settleAttached: (failure?: CulvertError) => void = () => undefined;
  #settleClosed: (error: CulvertError) => void = () => undefined;

  private constructor(duplex: Duplex, proof: Proof, hub: KnownHub, context: ChannelContext) {
    const { identity, keepaliveSeconds, sshHostKeys, clock } = context;
    this.#announced = context.announcement();
    this.proof = proof;
    this.offers = new PendingOffers(context, hub);
    this.#attached = new Promise((resolve) => {
      this.#settleAttached = resolve;
    });
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
    const session = new DeviceSession({
      hostName: formatAuthority(identity.host, identity.port),
      identity,
      password: proof.token,
      keepaliveSeconds,
      clientType: clientType(),
      sshHostKeys,
      announcement: this.#announced,
    });
    this.#connection = new ControlConnection(duplex, session, clock, this);
  }

  /**
   * Connects to the hub and resolves when the device is attached.
   * @throws CulvertError the hub's refusal; `unreachable`, `untrusted`; the signal's reason
   */
  static async open(context: ChannelContext, signal: AbortSignal): Promise<ControlChannel> {
    const { identity, outbound, clock } = context;
    const proof = await context.credential.next();
    let certificate: KnownHub['certificate'] = () => undefined;
    const duplex = await dialDuplex(`wss://${formatHostPort(identity.host, identity.port)}${CONTROL_PATH}`, {
      outbound,
      ...(proof.certificate === undefined ? {} : { certificate: proof.certificate }),
      clock,
      signal,
      protocols: ['mqtt'],
      maxPayload: LIMITS.mqttPacketBytes,
      // MQTT's own pings are used instead. They test the hub's MQTT session, not only its socket.
      pingMs: 0,
      onSecured: (connection) => {
        certificate = verifiedCertificate(connection);
      },
      allowHalfOpen: false,
    });
    const channel = new ControlChannel(duplex, proof, { host: identity.host, certificate }, context);
    const stop = () => {
      const reason = abortReason(signal);
      channel.#connection.destroy(reason);
      channel.onEnd(reason);
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    const failure = await channel.#attached;
    signal.removeEventListener('abort', stop);
    if (failure !== undefined) throw withClockFault(failure, proof, clock.now());
    return channel;
  }

  /** Announces this text in the place of what the hub received last. No effect if it is the same. */
  announce(text: string): void {
    if (text === this.#announced) return;
    this.#announced = text;
    this.#connection.announce(text);
  }

  /** Reports on the connections of a session. */
  report(text: string): void {
    this.#connection.report(text);
  }

  /** Whether the hub has received an announcement on this channel. */
  get hasAnnounced(): boolean {
    return this.#announced !== undefined;
  }

  /** Rejects pending offers, disconnects, and resolves when the connection is closed. Never rejects. */
  close(): Promise<void> {
    this.offers.rejectAll('The device is disconnecting.');
    return this.#connection.close();
  }

  /** @internal */
  onAttached(): void {
    this.#settleAttached();
  }

  /** @internal */
  onOffer(offer: DeviceOffer): void {
    this.offers.receive(offer, this.#connection);
  }

  /** @internal */
  onEnd(error: CulvertError): void {
    this.offers.abandon();
    this.#settleAttached(error);
    this.#settleClosed(error);
  }
}
