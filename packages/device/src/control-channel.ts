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
import { ControlConnection, type ControlConnectionListener } from './control-connection.ts';
import type { Credential, Proof } from './credential.ts';
import { type OfferHandling, PendingOffers } from './pending-offers.ts';

/** What every control channel of a client is made from. */
export interface ChannelContext extends OfferHandling {
  readonly identity: DeviceConnectionString;
  readonly credential: Credential;
  readonly keepaliveSeconds: number;
}

/** The control channel of a device or module: a connection on which it is attached, and the offers that came by it. */
export class ControlChannel implements ControlConnectionListener {
  /** The offers not answered yet. */
  readonly offers: PendingOffers;
  /** What the device proved itself with. */
  readonly proof: Proof;
  /** Resolves, once, with why the channel ended; never when {@link close} ended it. */
  readonly closed: Promise<CulvertError>;
  readonly #connection: ControlConnection;
  /** Resolves with nothing once attached, or with why that never came. */
  readonly #attached: Promise<CulvertError | undefined>;
  // Promise executors run at once, so both are set before anything can call them.
  #settleAttached: (failure?: CulvertError) => void = () => undefined;
  #settleClosed: (error: CulvertError) => void = () => undefined;

  private constructor(duplex: Duplex, proof: Proof, hub: KnownHub, context: ChannelContext) {
    const { identity, keepaliveSeconds, clock } = context;
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
    });
    this.#connection = new ControlConnection(duplex, session, clock, this);
  }

  /**
   * Dials the hub and resolves once attached.
   * @throws CulvertError what the hub refused with; `unreachable`, `untrusted`; the signal's reason
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
      // MQTT has its own pings, and they reach the hub's session, not only its socket.
      pingMs: 0,
      onSecured: (connection) => {
        certificate = verifiedCertificate(connection);
      },
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
    if (failure !== undefined) throw failure;
    return channel;
  }

  /** Rejects the offers that are pending, says goodbye, and resolves when the connection is gone. Never rejects. */
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
