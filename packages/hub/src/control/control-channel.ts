import type { Announcement, CulvertError, Identity, Offer, SessionAnswer } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { DeviceCredential } from '../auth/authenticate.ts';
import type { ClientCertificate } from '../auth/client-certificate.ts';
import type { Principal } from '../auth/principal.ts';
import type { EventSink } from '../observe/events.ts';
import type { ControlProtocol } from '../observe/listener.ts';
import type { ServiceGateway } from './service-connection.ts';
import type { UnansweredOffers } from './unanswered-offers.ts';

/** The device's answer to an offer. */
export type Answer =
  | {
      readonly accepted: true;
      /** The session that the device chose. It has not been compared with the offer yet. */
      readonly session?: SessionAnswer | undefined;
    }
  | { readonly accepted: false; readonly reason: string };

/** A device's live, authenticated connection to the hub, on which the hub offers it streams. Each transport has one implementation. */
export interface ControlChannel {
  /** The device or module that holds the channel. */
  readonly identity: Identity;
  /** The authenticated principal. While the channel lives, a renewed principal may replace it if the transport supports renewal. */
  readonly principal: Principal;
  readonly protocol: ControlProtocol;
  readonly remoteAddress: string;
  /** Milliseconds since the epoch. */
  readonly connectedAt: number;
  /**
   * The software that the device reports, at most 128 printable characters. It is not verified and only used for logs. Over AMQP the device sends it with
   * its first streams link.
   */
  readonly clientVersion?: string | undefined;
  /** The public keys of the device's SSH server, as the device reports them. */
  readonly sshHostKeys?: readonly string[] | undefined;
  /** The device's latest announcement of what it can do; undefined if it sent none, or a malformed one. */
  readonly announcement?: Announcement | undefined;
  /** Whether the device accepts offers at present (MQTT: has subscribed to them). This can change at any time. */
  readonly takesOffers: boolean;
  /** The offers that the device has left unanswered on this channel. */
  readonly unanswered: UnansweredOffers;
  /**
   * Offers a stream and waits for the answer until `signal` aborts or the channel ends.
   * @throws the signal's reason; CulvertError `device_gone` if the channel ends meanwhile or the device does not accept offers; `too_many_requests`
   */
  offer(offer: Offer, signal: AbortSignal): Promise<Answer>;
  /** Ends the channel, and sends the device the reason if the transport supports this. Idempotent. */
  close(error: CulvertError): void;
  /** Resolves with the reason when the channel has ended; never rejects. */
  readonly closed: Promise<CulvertError>;
}

/** The identity and principal of a channel, and where and when it was opened. */
export interface ChannelOrigin {
  readonly identity: Identity;
  readonly principal: Principal;
  readonly protocol: ControlProtocol;
  readonly remoteAddress: string;
  readonly connectedAt: number;
}

/** Receives the channels of authenticated devices from the listeners. */
export interface ChannelRegistrar {
  /** Adds a live channel and closes an older channel of the same identity (`taken_over`). Called again when the channel's principal is renewed. */
  attach(channel: ControlChannel): void;
  /** Called when the channel's `takesOffers` has changed. */
  offersChanged(channel: ControlChannel): void;
}

/** The client's identity from the TLS layer of a control connection. */
export interface TlsIdentity {
  readonly certificate?: ClientCertificate | undefined;
  /** Whether the server asked the client for a certificate. Default: true. */
  readonly certificateAsked?: boolean;
}

/** The listener, remote address and client certificate of a connection. */
export interface ControlOrigin extends TlsIdentity {
  readonly remoteAddress: string;
  readonly protocol: ControlProtocol;
}

/** The parts of the hub that a control listener needs. */
export interface ControlDeps {
  /** Verifies a device's credential. @throws CulvertError, which the transport sends to the device */
  authenticate(credential: DeviceCredential): Promise<Principal>;
  readonly registrar: ChannelRegistrar;
  readonly services: ServiceGateway;
  /** Takes a report of an authenticated device on the connections of its sessions, which is neither read nor checked. Absent: it is dropped. */
  readonly onSessionReport?: (identity: Identity, text: string) => void;
  readonly clock: Clock;
  readonly onEvent: EventSink;
  readonly limits: ControlLimits;
}

/** The limits of one control connection. */
export interface ControlLimits {
  /** Milliseconds within which a device must authenticate. */
  readonly authenticateMs: number;
  /** Maximum bytes of a packet, frame or message from a device. */
  readonly maxPacketBytes: number;
  /** Maximum offers per device that wait for an answer at the same time. */
  readonly maxOffers: number;
  /** Maximum bytes queued for a device that does not read; with more, its channel is closed. */
  readonly maxQueuedBytes: number;
}
