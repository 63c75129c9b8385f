import { CulvertError } from '../errors.ts';
import type { Offer } from '../offer.ts';
import { rejectReason } from '../reject-reason.ts';
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

/** What the connection's owner is to do, in order. */
export type HubEffect =
  | { readonly kind: 'send'; readonly packet: MqttPacket }
  /** Verify this, then call `accept` and `release`, or `end`. */
  | { readonly kind: 'authenticate'; readonly credentials: Credentials }
  /** `takesOffers` changed. */
  | { readonly kind: 'offers-changed' }
  /** The device answered an offer that was neither answered nor withdrawn before. */
  | { readonly kind: 'answer'; readonly requestId: string; readonly accepted: boolean; readonly reason: string }
  /** Close the connection, after what was sent; nothing further comes. */
  | { readonly kind: 'end'; readonly error: CulvertError };

export interface HubSessionOptions {
  /** When the connection was made, in ms since the epoch. */
  readonly now: number;
  /** Milliseconds until the device must have authenticated. */
  readonly authenticateMs: number;
  /** Bytes of a packet the hub takes; told to MQTT 5 devices. The reader in front enforces it. */
  readonly maxPacketBytes: number;
  /** Offers without an answer at once. */
  readonly maxOffers: number;
}

/** Packets a device may send on before it has the CONNACK (MQTT 3.1.1 §3.1.4 allows it): our own clients send none, Paho a few. */
const MAX_HELD_PACKETS = 64;

/** Filters in one SUBSCRIBE or UNSUBSCRIBE: real clients send at most about ten. */
const MAX_FILTERS_PER_PACKET = 64;

/** MQTT 5 §3.4.2.1: PUBACK reason "no matching subscribers". */
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
      /** Packets that came before CONNACK was sent. */
      held: MqttPacket[];
      /** When the device was last heard from, ms since the epoch. */
      receivedAt: number;
    }
  | { readonly name: 'ended' };

type Open = Extract<State, { name: 'open' }>;

/**
 * The hub's side of an MQTT control channel, as a state machine: packets and the time in, effects out. It does no I/O and has no
 * timer: its owner calls {@link tick} when {@link deadline} has come. One session lives on one connection.
 */
export class HubSession {
  readonly #options: HubSessionOptions;
  #state: State = { name: 'awaiting-connect' };
  #version: MqttVersion = 4;

  constructor(options: HubSessionOptions) {
    this.#options = options;
  }

  /** The version to encode what is sent in. */
  get version(): MqttVersion {
    return this.#version;
  }

  /** Whether the device has subscribed to stream requests. */
  get takesOffers(): boolean {
    return this.#state.name === 'open' && this.#state.subscriptions.offerQos !== undefined;
  }

  /** When {@link tick} is to be called next, in ms since the epoch; undefined when never. It may move later without notice. */
  get deadline(): number | undefined {
    const state = this.#state;
    if (state.name === 'ended') return undefined;
    if (state.name !== 'open') return this.#options.now + this.#options.authenticateMs;
    return Math.min(state.receivedAt + state.options.silenceMs, state.expiresAt);
  }

  /** Time has passed. */
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

  /** A packet came from the device. */
  receive(packet: MqttPacket, now: number): HubEffect[] {
    const state = this.#state;
    switch (state.name) {
      case 'awaiting-connect':
        return packet.cmd === 'connect' ? this.#connect(packet) : this.#broken('The first packet was not a CONNECT.');
      case 'authenticating':
        if (packet.cmd === 'connect') return this.#broken('A second CONNECT.');
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

  /** The device proved who it is, until `expiresAt`. Gives CONNACK; {@link release} is to follow. */
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
      // Sessions are not kept: a device's subscriptions live as long as its connection.
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
   * Offers a stream. The effects may be empty: over QoS 1 the device's Receive Maximum may make it wait.
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

  /** Withdraws an offer: an answer to it is ignored from now on. */
  withdraw(requestId: string): void {
    if (this.#state.name === 'open') this.#state.offers.remove(requestId);
  }

  /** Ends the session, telling the device why where its version and state can. */
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

  /** Ends the session without sending anything: the connection broke, or the device disconnected. */
  lost(error: CulvertError): HubEffect[] {
    return this.#state.name === 'ended' ? [] : this.#ended(error, []);
  }

  /** The CONNECT asked for a protocol level that is not spoken; it is told so at the protocol level nearest to it. */
  endUnsupported(error: CulvertError, level: number): HubEffect[] {
    if (this.#state.name !== 'awaiting-connect') return this.end(error);
    this.#version = level > 5 ? 5 : 4;
    return this.#ended(error, this.#send(refusal(error, this.#version)));
  }

  #connect(packet: IConnectPacket): HubEffect[] {
    this.#version = packet.protocolVersion === 5 ? 5 : 4;
    try {
      // The password is passed to the verifier and not kept.
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
        return this.#broken(
          `The device sent ${packet.cmd === 'connect' ? 'a second CONNECT' : `an MQTT ${packet.cmd} packet`}.`,
        );
    }
  }

  #publish(state: Open, packet: IPublishPacket): HubEffect[] {
    if (packet.qos === 2) return this.end(new CulvertError('qos_unsupported'));
    if (packet.properties?.topicAlias !== undefined) return this.#broken('A topic alias, though none is allowed.');
    if (packet.topic === '' || /[+#\0]/.test(packet.topic)) return this.#broken('A malformed topic name.');
    if (packet.qos === 1 && !isMessageId(packet.messageId)) return this.#broken('A PUBLISH without a packet id.');
    try {
      const answer = parseAnswerTopic(packet.topic);
      const answered: HubEffect[] =
        answer !== undefined && state.offers.remove(answer.requestId)
          ? [{ kind: 'answer', ...answer, reason: answer.accepted ? '' : rejectReason(packet.payload) }]
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
    const fault = listFault(packet.messageId, packet.subscriptions.length);
    if (fault !== undefined) return this.end(fault);
    if (packet.properties?.subscriptionIdentifier !== undefined)
      return this.#broken('A subscription identifier, though none is allowed.');
    return this.#withOffers(() => {
      const granted = state.subscriptions.subscribe(packet, this.#version);
      return this.#send({ cmd: 'suback', messageId: packet.messageId ?? 0, granted });
    });
  }

  #unsubscribe(state: Open, packet: IUnsubscribePacket): HubEffect[] {
    const fault = listFault(packet.messageId, packet.unsubscriptions.length);
    if (fault !== undefined) return this.end(fault);
    return this.#withOffers(() => {
      const granted = state.subscriptions.unsubscribe(packet.unsubscriptions);
      return this.#send({ cmd: 'unsuback', messageId: packet.messageId ?? 0, granted });
    });
  }

  /** Runs `change` and adds `offers-changed` when it was one. */
  #withOffers(change: () => HubEffect[]): HubEffect[] {
    const before = this.takesOffers;
    const effects = change();
    return this.takesOffers === before ? effects : [...effects, { kind: 'offers-changed' }];
  }

  #broken(message: string): HubEffect[] {
    return this.end(new CulvertError('protocol_error', message));
  }

  #ended(error: CulvertError, said: HubEffect[]): HubEffect[] {
    this.#state = { name: 'ended' };
    return [...said, { kind: 'end', error }];
  }

  #send(packet: MqttPacket): HubEffect[] {
    const fitting = this.#fit(packet);
    return fitting === undefined ? [] : [{ kind: 'send', packet: fitting }];
  }

  /**
   * `packet` within the device's Maximum Packet Size, without its properties if need be; undefined when it does not fit
   * even so and must not be sent (MQTT 5 §3.1.2.11.4).
   */
  #fit<T extends MqttPacket>(packet: T): T | undefined {
    const state = this.#state;
    const max = state.name === 'open' || state.name === 'authenticating' ? state.options.maxPacketBytes : Infinity;
    if (max === Number.POSITIVE_INFINITY || encodePacket(packet, this.#version).length <= max) return packet;
    const { properties: _left, ...bare } = packet as T & { properties?: unknown };
    const smaller = bare as T;
    return encodePacket(smaller, this.#version).length <= max ? smaller : undefined;
  }
}

function isMessageId(id: number | undefined): boolean {
  return id !== undefined && id > 0;
}

function listFault(messageId: number | undefined, filters: number): CulvertError | undefined {
  if (!isMessageId(messageId)) return new CulvertError('protocol_error', 'A packet without a packet id.');
  if (filters === 0) return new CulvertError('protocol_error', 'A packet without a topic filter.');
  if (filters > MAX_FILTERS_PER_PACKET) return new CulvertError('too_many_requests', 'Too many filters in one packet.');
  return undefined;
}
