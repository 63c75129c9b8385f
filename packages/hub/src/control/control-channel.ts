import type { Announcement, CulvertError, Identity, Offer, SessionAnswer } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { DeviceCredential } from '../auth/authenticate.ts';
import type { ClientCertificate } from '../auth/client-certificate.ts';
import type { Principal } from '../auth/principal.ts';
import type { EventSink } from '../observe/events.ts';
import type { ControlProtocol } from '../observe/listener.ts';
import type { ServiceGateway } from './service-connection.ts';
import type { UnansweredOffers } from './unanswered-offers.ts';

/** What the device said. */
export type Answer =
  | {
      readonly accepted: true;
      /** The session that it chose, not yet checked against the offer. */
      readonly session?: SessionAnswer | undefined;
    }
  | { readonly accepted: false; readonly reason: string };

/** A device's live, authenticated connection to the hub, on which it is offered streams. One implementation per transport. */
export interface ControlChannel {
  /** The device, or the module of one, at the other end. */
  readonly identity: Identity;
  /** May be replaced by a renewed one while the channel lives, where the transport can renew. */
  readonly principal: Principal;
  readonly protocol: ControlProtocol;
  readonly remoteAddress: string;
  /** Milliseconds since the epoch. */
  readonly connectedAt: number;
  /**
   * What software the device says it is, at most 128 printable characters: its own word, for logs only. Over AMQP it is said with the
   * first streams link.
   */
  readonly clientVersion?: string | undefined;
  /** Public keys of its SSH server, as the device names them. */
  readonly sshHostKeys?: readonly string[] | undefined;
  /** What the device says it can do, as it said last; undefined when it said nothing, or something malformed. */
  readonly announcement?: Announcement | undefined;
  /** Whether the device has said that it takes offers (MQTT: subscribed). It may begin to, and stop, at any time. */
  readonly takesOffers: boolean;
  /** The offers it leaves unanswered; they go with the channel. */
  readonly unanswered: UnansweredOffers;
  /**
   * Offers a stream and waits for the answer, for as long as `signal` and the channel live.
   * @throws the signal's reason; CulvertError `device_gone` when the channel ends meanwhile or takes no offers; `too_many_requests`
   */
  offer(offer: Offer, signal: AbortSignal): Promise<Answer>;
  /** Ends the channel, telling the device why where its transport can. Idempotent. */
  close(error: CulvertError): void;
  /** Resolves, once, with why the channel ended; never rejects. */
  readonly closed: Promise<CulvertError>;
}

/** Whose a channel is, and where and when it began. */
export interface ChannelOrigin {
  readonly identity: Identity;
  readonly principal: Principal;
  readonly protocol: ControlProtocol;
  readonly remoteAddress: string;
  readonly connectedAt: number;
}

/** What a listener does with a channel once its device has proved who it is. */
export interface ChannelRegistrar {
  /** The channel is live. An older channel of the same identity is taken over. Called again when the channel's principal was renewed. */
  attach(channel: ControlChannel): void;
  /** The channel's `takesOffers` changed. */
  offersChanged(channel: ControlChannel): void;
}

/** What TLS below a control connection said of the client. */
export interface TlsIdentity {
  readonly certificate?: ClientCertificate | undefined;
  /** Whether the client was asked for a certificate; default true. */
  readonly certificateAsked?: boolean;
}

/** The listener, remote address and client certificate of a connection. */
export interface ControlOrigin extends TlsIdentity {
  readonly remoteAddress: string;
  readonly protocol: ControlProtocol;
}

/** What every control listener needs of the hub. */
export interface ControlDeps {
  /** Verifies what a device says it is. @throws CulvertError, which the transport tells the device */
  authenticate(credential: DeviceCredential): Promise<Principal>;
  readonly registrar: ChannelRegistrar;
  readonly services: ServiceGateway;
  /** Takes a report of an authenticated device on the connections of its sessions, which is neither read nor checked. Absent: it is dropped. */
  readonly onSessionReport?: (identity: Identity, text: string) => void;
  readonly clock: Clock;
  readonly onEvent: EventSink;
  readonly limits: ControlLimits;
}

/** The bounds of one control connection. */
export interface ControlLimits {
  /** Milliseconds until a device must have authenticated. */
  readonly authenticateMs: number;
  /** Bytes of a packet, frame or message from a device. */
  readonly maxPacketBytes: number;
  /** Offers without an answer at once, per device. */
  readonly maxOffers: number;
  /** Bytes that may wait for a device that does not read; beyond, it loses its channel. */
  readonly maxQueuedBytes: number;
}
