import { ANNOUNCEMENT_TOPIC, MAX_ANNOUNCEMENT_BYTES } from '../announcement.ts';
import { CulvertError } from '../errors.ts';
import type { Offer } from '../offer.ts';
import { rejectReason } from '../reject-reason.ts';
import { readSessionAnswer, SESSION_PROPERTY, type SessionAnswer } from '../session-negotiation.ts';
import { SESSION_REPORT_LIMITS, SESSION_REPORT_TOPIC } from '../session-report.ts';
import { parseAnswerTopic } from '../topics.ts';
import {
  encodePacket,
  type IConnectPacket,
  type IPublishPacket,
  type ISubscribePacket,
  type IUnsubscribePacket,
  type MqttPacket,
  type MqttVersion,
} from './codec.ts';
import { type ConnectOptions, type Credentials, parseConnect } from './connect-request.ts';
import { announcements, disconnectPacket, offerPublication, refusal } from './hub-packets.ts';
import { PendingOffers } from './pending-offers.ts';
import { Subscriptions } from './subscriptions.ts';
import { twinRefusal } from './twin-refusal.ts';
import { textProperty } from './user-properties.ts';

/** An action that the owner of the connection must perform, in the order of the list. */
export type HubEffect =
  | { readonly kind: 'send'; readonly packet: MqttPacket }
  /** Verify these credentials. If they are valid, call `accept`, then `release`, which handles the packets that were held until then; otherwise call `end`. */
  | { readonly kind: 'authenticate'; readonly credentials: Credentials }
  /** The value of `takesOffers` changed. */
  | { readonly kind: 'offers-changed' }
  /** The device answered an offer. Emitted once per offer, and not after the offer was withdrawn. */
  | {
      readonly kind: 'answer';
      readonly requestId: string;
      readonly accepted: boolean;
      readonly reason: string;
      /** The session that the device chose (MQTT 5); undefined when it chose none or its text is malformed. */
      readonly session: SessionAnswer | undefined;
    }
  /** The device repeated its announcement, in this text (MQTT 5). The effect carries it unread; longer texts arrive as an empty one. */
  | { readonly kind: 'announced'; readonly text: string }
  /** The device reported on the connections of a session, as `announced` (MQTT 5). */
  | { readonly kind: 'session-report'; readonly text: string }
  /** Close the connection after all packets to be sent; this is the last effect. */
  | { readonly kind: 'end'; readonly error: CulvertError };

export interface HubSessionOptions {
  /** The time at which the connection was opened, in ms since the epoch. */
  readonly now: number;
  /** Milliseconds within which the device must authenticate. */
  readonly authenticateMs: number;
  /** Maximum bytes of a packet from the device; announced to MQTT 5 devices. The `PacketReader` enforces it, not this session. */
  readonly maxPacketBytes: number;
  /** Maximum number of unanswered offers. */
  readonly maxOffers: number;
}

/** Packets that a device may send before it receives CONNACK, as MQTT 3.1.1 §3.1.4 allows: Culvert's clients send none, Paho sends a few. */
const MAX_HELD_PACKETS = 64;

/** Maximum filters in one SUBSCRIBE or UNSUBSCRIBE: real clients send at most about ten. */
const MAX_FILTERS_PER_PACKET = 64;

/** The PUBACK reason code "no matching subscribers" (MQTT 5 §3.4.2.1). */
const NO_MATCHING_SUBSCRIBERS = 0x10;

type State =
  | { readonly name: 'awaiting-connect' }
  | { readonly name: 'authenticating'; readonly options: ConnectOptions; readonly held: MqttPacket[] }
  | {
      readonly name: 'open';
      readonly options: ConnectOptions;
      readonly offers: PendingOffers;
      readonly subscriptions: Subscriptions;
      readonly expiresAt: number;
      /** Packets received before CONNACK was sent. */
      held: MqttPacket[];
      /** The time of the last packet from the device, ms since the epoch. */
      receivedAt: number;
    }
  | { readonly name: 'ended' };

type Open = Extract<State, { name: 'open' }>;

/**
 * The hub's side of an MQTT control channel, as a state machine: its inputs are packets and the time, its outputs are effects. It does no I/O
 * and has no timer: its owner must call {@link tick} at {@link deadline}. A session is used for one connection only.
 */
export class HubSession {
  readonly #options: HubSessionOptions;
  #state: State = { name: 'awaiting-connect' };
  #version: MqttVersion = 4;

  constructor(options: HubSessionOptions) {
    this.#options = options;
  }

  /** The protocol version with which the packets to be sent must be encoded. */
  get version(): MqttVersion {
    return this.#version;
  }

  /** Whether the device has subscribed to stream requests. */
  get takesOffers(): boolean {
    return this.#state.name === 'open' && this.#state.subscriptions.offerQos !== undefined;
  }

  /** The time of the next {@link tick} call, in ms since the epoch; undefined when none is needed. It may become later at any time. */
  get deadline(): number | undefined {
    const state = this.#state;
    if (state.name === 'ended') return undefined;
    if (state.name !== 'open') return this.#options.now + this.#options.authenticateMs;
    return Math.min(state.receivedAt + state.options.silenceMs, state.expiresAt);
  }

  /** Handles the passing of time: ends the session when the device did not authenticate in time, was silent for too long, or its token expired. */
  tick(now: number): HubEffect[] {
    const deadline = this.deadline;
    const state = this.#state;
    if (deadline === undefined || now < deadline) return [];
    if (state.name !== 'open') {
      const seconds = this.#options.authenticateMs / 1000;
      return this.end(new CulvertError('handshake_timeout', `The device did not authenticate within ${seconds} s.`));
    }
    return this.end(new CulvertError(now >= state.expiresAt ? 'token_expired' : 'keepalive_timeout'));
  }

  /** Handles a packet from the device. */
  receive(packet: MqttPacket, now: number): HubEffect[] {
    const state = this.#state;
    switch (state.name) {
      case 'awaiting-connect':
        return packet.cmd === 'connect'
          ? this.#connect(packet)
          : this.#protocolError('The first packet was not a CONNECT.');
      case 'authenticating':
        if (packet.cmd === 'connect') return this.#protocolError('The device sent a second CONNECT.');
        if (state.held.length >= MAX_HELD_PACKETS)
          return this.end(new CulvertError('too_many_requests', 'Too many packets before CONNACK.'));
        state.held.push(packet);
        return [];
      case 'open':
        state.receivedAt = now;
        return this.#packet(state, packet);
      case 'ended':
        return [];
    }
  }

  /** The device is authenticated until `expiresAt`. Returns the CONNACK to send; the caller must then call {@link release}. */
  accept(now: number, expiresAt: number): HubEffect[] {
    const state = this.#state;
    if (state.name !== 'authenticating') return [];
    const { options, held } = state;
    const { maxOffers } = this.#options;
    this.#state = {
      name: 'open',
      options,
      held,
      expiresAt,
      receivedAt: now,
      offers: new PendingOffers({ maxOffers, receiveMaximum: options.receiveMaximum }),
      subscriptions: new Subscriptions(),
    };
    return this.#send({
      cmd: 'connack',
      returnCode: 0,
      reasonCode: 0,
      // Sessions are not stored: a device's subscriptions end with its connection.
      sessionPresent: false,
      ...(this.#version === 5 ? { properties: announcements(options, this.#options.maxPacketBytes) } : {}),
    });
  }

  /** Handles packets that the device sent before it received CONNACK. */
  release(now: number): HubEffect[] {
    if (this.#state.name !== 'open') return [];
    const held = this.#state.held;
    this.#state.held = [];
    return held.flatMap((packet) => this.receive(packet, now));
  }

  /**
   * Offers a stream. The effects may be empty: with QoS 1 the offer is queued when the device's Receive Maximum is reached.
   * @throws CulvertError `device_gone`, `too_many_requests`, `too_large`
   */
  offer(offer: Offer): { requestId: string; effects: HubEffect[] } {
    const state = this.#state;
    const qos = state.name === 'open' ? state.subscriptions.offerQos : undefined;
    if (state.name !== 'open' || qos === undefined)
      throw new CulvertError('device_gone', 'The device does not take stream requests any more.');
    const requestId = state.offers.newRequest();
    const fitting = this.#fit(offerPublication(offer, { requestId, qos, version: this.#version }));
    if (fitting === undefined)
      throw new CulvertError('too_large', 'The request is larger than the packets this device takes.');
    const now = state.offers.enter(requestId, fitting);
    return { requestId, effects: now === undefined ? [] : [{ kind: 'send', packet: now }] };
  }

  /** Withdraws an offer: a later answer to it is ignored. */
  withdraw(requestId: string): void {
    if (this.#state.name === 'open') this.#state.offers.remove(requestId);
  }

  /** Ends the session. Sends the reason to the device if the protocol version and the session's state allow it. */
  end(error: CulvertError): HubEffect[] {
    switch (this.#state.name) {
      case 'awaiting-connect':
        return this.#ended(error, []);
      case 'authenticating':
        return this.#ended(error, this.#send(refusal(error, this.#version)));
      case 'open':
        return this.#ended(error, this.#version === 5 ? this.#send(disconnectPacket(error)) : []);
      case 'ended':
        return [];
    }
  }

  /** Ends the session without sending anything, because the connection was lost or the device disconnected. */
  lost(error: CulvertError): HubEffect[] {
    return this.#state.name === 'ended' ? [] : this.#ended(error, []);
  }

  /** Refuses a CONNECT with an unsupported protocol level. The CONNACK is encoded for the nearest supported level. */
  endUnsupported(error: CulvertError, level: number): HubEffect[] {
    if (this.#state.name !== 'awaiting-connect') return this.end(error);
    this.#version = level > 5 ? 5 : 4;
    return this.#ended(error, this.#send(refusal(error, this.#version)));
  }

  #connect(packet: IConnectPacket): HubEffect[] {
    this.#version = packet.protocolVersion === 5 ? 5 : 4;
    try {
      // The password is passed to the verifier and not stored.
      const { options, credentials } = parseConnect(packet);
      this.#state = { name: 'authenticating', options, held: [] };
      return [{ kind: 'authenticate', credentials }];
    } catch (reason) {
      const error = CulvertError.from(reason, 'protocol_error');
      return this.#ended(error, this.#send(refusal(error, this.#version)));
    }
  }

  #packet(state: Open, packet: MqttPacket): HubEffect[] {
    switch (packet.cmd) {
      case 'publish':
        return this.#publish(state, packet);
      case 'puback': {
        const next = state.offers.acknowledge(packet.messageId ?? 0);
        return next === undefined ? [] : [{ kind: 'send', packet: next }];
      }
      case 'subscribe':
        return this.#subscribe(state, packet);
      case 'unsubscribe':
        return this.#unsubscribe(state, packet);
      case 'pingreq':
        return this.#send({ cmd: 'pingresp' });
      case 'disconnect':
        return this.lost(new CulvertError('device_gone', 'The device disconnected.'));
      default:
        return this.#protocolError(
          `The device sent ${packet.cmd === 'connect' ? 'a second CONNECT' : `an MQTT ${packet.cmd} packet`}.`,
        );
    }
  }

  #publish(state: Open, packet: IPublishPacket): HubEffect[] {
    if (packet.qos === 2) return this.end(new CulvertError('qos_unsupported'));
    if (packet.properties?.topicAlias !== undefined)
      return this.#protocolError('The device sent a topic alias, which is not allowed.');
    if (packet.topic === '' || /[+#\0]/.test(packet.topic)) return this.#protocolError('A malformed topic name.');
    if (packet.qos === 1 && !isMessageId(packet.messageId))
      return this.#protocolError('A PUBLISH without a packet id.');
    if (this.#version === 5 && packet.topic === ANNOUNCEMENT_TOPIC) {
      const text = textOf(packet, MAX_ANNOUNCEMENT_BYTES);
      return [{ kind: 'announced', text }, ...this.#acknowledge(packet, 0)];
    }
    if (this.#version === 5 && packet.topic === SESSION_REPORT_TOPIC) {
      const text = textOf(packet, SESSION_REPORT_LIMITS.bytes);
      return [{ kind: 'session-report', text }, ...this.#acknowledge(packet, 0)];
    }
    try {
      const answer = parseAnswerTopic(packet.topic);
      const answered: HubEffect[] =
        answer !== undefined && state.offers.remove(answer.requestId)
          ? [{ kind: 'answer', ...answer, ...readAnswer(answer.accepted, packet) }]
          : [];
      const refused = this.#refuseTwin(state, packet.topic);
      const code = answer === undefined ? NO_MATCHING_SUBSCRIBERS : 0;
      return [...answered, ...this.#acknowledge(packet, code), ...refused];
    } catch (reason) {
      return this.end(CulvertError.from(reason, 'protocol_error'));
    }
  }

  #refuseTwin(state: Open, topic: string): HubEffect[] {
    const refusal = twinRefusal(topic);
    return refusal !== undefined && state.subscriptions.covers(refusal.topic) ? this.#send(refusal) : [];
  }

  #acknowledge(packet: IPublishPacket, reasonCode: number): HubEffect[] {
    if (packet.qos !== 1 || packet.messageId === undefined) return [];
    return this.#send({ cmd: 'puback', messageId: packet.messageId, reasonCode });
  }

  #subscribe(state: Open, packet: ISubscribePacket): HubEffect[] {
    const error = filterListError(packet.messageId, packet.subscriptions.length);
    if (error !== undefined) return this.end(error);
    if (packet.properties?.subscriptionIdentifier !== undefined)
      return this.#protocolError('The device sent a subscription identifier, which is not allowed.');
    return this.#withOffers(() => {
      const granted = state.subscriptions.subscribe(packet, this.#version);
      return this.#send({ cmd: 'suback', messageId: packet.messageId ?? 0, granted });
    });
  }

  #unsubscribe(state: Open, packet: IUnsubscribePacket): HubEffect[] {
    const error = filterListError(packet.messageId, packet.unsubscriptions.length);
    if (error !== undefined) return this.end(error);
    return this.#withOffers(() => {
      const granted = state.subscriptions.unsubscribe(packet.unsubscriptions);
      return this.#send({ cmd: 'unsuback', messageId: packet.messageId ?? 0, granted });
    });
  }

  /** Runs `change` and adds the effect `offers-changed` if `takesOffers` changed. */
  #withOffers(change: () => HubEffect[]): HubEffect[] {
    const before = this.takesOffers;
    const effects = change();
    return this.takesOffers === before ? effects : [...effects, { kind: 'offers-changed' }];
  }

  #protocolError(message: string): HubEffect[] {
    return this.end(new CulvertError('protocol_error', message));
  }

  #ended(error: CulvertError, lastPackets: HubEffect[]): HubEffect[] {
    this.#state = { name: 'ended' };
    return [...lastPackets, { kind: 'end', error }];
  }

  #send(packet: MqttPacket): HubEffect[] {
    const fitting = this.#fit(packet);
    return fitting === undefined ? [] : [{ kind: 'send', packet: fitting }];
  }

  /**
   * Fits `packet` into the device's Maximum Packet Size by removing its properties if necessary. Undefined when it is too large even without
   * them; it must then not be sent (MQTT 5 §3.1.2.11.4).
   */
  #fit<T extends MqttPacket>(packet: T): T | undefined {
    const state = this.#state;
    const max = state.name === 'open' || state.name === 'authenticating' ? state.options.maxPacketBytes : Infinity;
    if (max === Number.POSITIVE_INFINITY || encodePacket(packet, this.#version).length <= max) return packet;
    const { properties: _removed, ...bare } = packet as T & { properties?: unknown };
    const smaller = bare as T;
    return encodePacket(smaller, this.#version).length <= max ? smaller : undefined;
  }
}

function textOf({ payload }: IPublishPacket, maxBytes: number): string {
  return payload.length > maxBytes ? '' : payload.toString();
}

function readAnswer(accepted: boolean, { payload, properties }: IPublishPacket) {
  if (!accepted) return { reason: rejectReason(payload), session: undefined };
  return { reason: '', session: readSessionAnswer(textProperty(properties, SESSION_PROPERTY)) };
}

function isMessageId(id: number | undefined): boolean {
  return id !== undefined && id > 0;
}

function filterListError(messageId: number | undefined, filters: number): CulvertError | undefined {
  if (!isMessageId(messageId)) return new CulvertError('protocol_error', 'A packet without a packet id.');
  if (filters === 0) return new CulvertError('protocol_error', 'A packet without a topic filter.');
  if (filters > MAX_FILTERS_PER_PACKET) return new CulvertError('too_many_requests', 'Too many filters in one packet.');
  return undefined;
}
