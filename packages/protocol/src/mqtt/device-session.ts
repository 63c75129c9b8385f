import { CulvertError } from '../errors.ts';
import { type Identity, identityName } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { type Offer, parseOfferExtensions } from '../offer.ts';
import { SSH_HOST_KEY_PROPERTY } from '../ssh-host-keys.ts';
import { API_VERSION } from '../stream-request.ts';
import { formatAnswerTopic, parseOfferTopic, STREAM_REQUEST_FILTER } from '../topics.ts';
import { cutUtf8 } from '../utf8.ts';
import type {
  IConnackPacket,
  IConnectPacket,
  IPublishPacket,
  ISubackPacket,
  MqttPacket,
  MqttVersion,
} from './codec.ts';
import { errorFromReasonCode, errorFromReturnCode } from './reason-codes.ts';

/** A stream request as it reached the device. */
export interface DeviceOffer extends Offer {
  /** Names the request in the answer. */
  readonly requestId: string;
}

/** What the connection's owner is to do, in order. */
export type DeviceEffect =
  | { readonly kind: 'send'; readonly packet: MqttPacket }
  /** The hub took the subscription: offers may come from now on. */
  | { readonly kind: 'attached' }
  | { readonly kind: 'offer'; readonly offer: DeviceOffer }
  /**
   * Close the connection, after what was sent; nothing further comes. `error` is undefined after `close()`. `refused`: the hub
   * answered CONNECT or SUBSCRIBE with a refusal, so `error.row.retryable` tells whether trying again is of use.
   */
  | { readonly kind: 'end'; readonly error: CulvertError | undefined; readonly refused: boolean };

export interface DeviceSessionOptions {
  /** The hub's name as in the connection string. */
  readonly hostName: string;
  readonly identity: Identity;
  /** The SAS token; undefined where a certificate, shown to TLS below, proves the identity. */
  readonly password: string | undefined;
  /** Seconds without traffic after which the device pings; 1 to 65535. The hub may lower it (MQTT 5). */
  readonly keepaliveSeconds: number;
  /** Default 5: only there do offers carry stream id and caller, and refusals their reason. */
  readonly version?: MqttVersion;
  /** Sent as `DeviceClientType`, for the hub's logs. */
  readonly clientType?: string;
  /** Public keys of the device's SSH server, `TYPE BASE64`, for the hub to register (MQTT 5). */
  readonly sshHostKeys?: readonly string[];
}

const SUBSCRIBE_ID = 1;

type State = 'new' | 'connecting' | 'subscribing' | 'attached' | 'ended';

/**
 * The device's side of an MQTT control channel, as a state machine: packets and the time in, effects out. It does no I/O and
 * has no timer: its owner calls {@link tick} when {@link deadline} has come. One session lives on one connection.
 */
export class DeviceSession {
  readonly version: MqttVersion;
  readonly #options: DeviceSessionOptions;
  #state: State = 'new';
  #keepaliveMs: number;
  /** When CONNACK and SUBACK must have come; ms since the epoch. */
  #attachBy = 0;
  #lastSent = 0;
  #lastReceived = 0;
  /** When the PINGREQ that is still unanswered was sent. */
  #pinged: number | undefined;

  constructor(options: DeviceSessionOptions) {
    this.#options = options;
    this.version = options.version ?? 5;
    this.#keepaliveMs = options.keepaliveSeconds * 1000;
  }

  /** When {@link tick} is to be called next, in ms since the epoch; undefined when never. It may move later without notice. */
  get deadline(): number | undefined {
    if (this.#state === 'new' || this.#state === 'ended') return undefined;
    if (this.#state !== 'attached') return this.#attachBy;
    return this.#pinged === undefined
      ? Math.min(this.#lastSent, this.#lastReceived) + this.#keepaliveMs
      : this.#pinged + this.#keepaliveMs;
  }

  /** The transport is open. Gives CONNECT. */
  open(now: number): DeviceEffect[] {
    if (this.#state !== 'new') return [];
    this.#state = 'connecting';
    this.#attachBy = now + LIMITS.authenticateMs;
    this.#lastReceived = now;
    const { hostName, identity, password, keepaliveSeconds, clientType } = this.#options;
    const name = identityName(identity);
    const type = encodeURIComponent(clientType ?? 'culvert');
    return this.#send(now, {
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: this.version,
      clean: true,
      clientId: name,
      keepalive: keepaliveSeconds,
      username: `${hostName}/${name}/?api-version=${API_VERSION}&DeviceClientType=${type}`,
      ...(password === undefined ? {} : { password: Buffer.from(password) }),
      ...(this.version === 5 ? { properties: this.#connectProperties() } : {}),
    });
  }

  #connectProperties(): NonNullable<IConnectPacket['properties']> {
    const { sshHostKeys = [] } = this.#options;
    const named = sshHostKeys.length === 0 ? {} : { userProperties: { [SSH_HOST_KEY_PROPERTY]: [...sshHostKeys] } };
    return { maximumPacketSize: LIMITS.mqttPacketBytes, ...named };
  }

  /** A packet came from the hub. */
  receive(packet: MqttPacket, now: number): DeviceEffect[] {
    if (this.#state === 'ended' || this.#state === 'new') return [];
    this.#lastReceived = now;
    switch (packet.cmd) {
      case 'connack':
        return this.#connack(packet, now);
      case 'suback':
        return this.#suback(packet);
      case 'publish':
        return this.#publish(packet, now);
      case 'pingresp':
        this.#pinged = undefined;
        return [];
      case 'disconnect':
        return this.#end(errorFromReasonCode(packet.reasonCode ?? 0, packet.properties?.reasonString));
      case 'puback':
      case 'unsuback':
        return [];
      default:
        return this.#end(new CulvertError('protocol_error', `The hub sent an MQTT ${packet.cmd} packet.`));
    }
  }

  /** Time has passed: gives a PINGREQ when one is due, or the end when the hub did not answer in time. */
  tick(now: number): DeviceEffect[] {
    const deadline = this.deadline;
    if (deadline === undefined || now < deadline) return [];
    if (this.#state !== 'attached') {
      const waited = LIMITS.authenticateMs / 1000;
      return this.#end(new CulvertError('unreachable', `The hub did not let the device in within ${waited} s.`));
    }
    if (this.#pinged !== undefined)
      return this.#end(new CulvertError('keepalive_timeout', 'The hub did not answer a ping.'));
    this.#pinged = now;
    return this.#send(now, { cmd: 'pingreq' });
  }

  /** Answers an offer. `reason` is for a rejection: sent as UTF-8 payload, cut to LIMITS.rejectReasonBytes. */
  answer(answer: { requestId: string; accepted: boolean; reason?: string }, now: number): DeviceEffect[] {
    if (this.#state !== 'attached') return [];
    return this.#send(now, {
      cmd: 'publish',
      topic: formatAnswerTopic(answer),
      payload: answer.accepted ? '' : cutUtf8(answer.reason ?? '', LIMITS.rejectReasonBytes),
      // QoS 0: an answer is lost only together with the connection, so an acknowledgement would add nothing.
      qos: 0,
      dup: false,
      retain: false,
    });
  }

  /** Closes the session: sends DISCONNECT, then ends. */
  close(now: number): DeviceEffect[] {
    if (this.#state === 'ended') return [];
    const said = this.#state === 'new' ? [] : this.#send(now, { cmd: 'disconnect', reasonCode: 0 });
    this.#state = 'ended';
    return [...said, { kind: 'end', error: undefined, refused: false }];
  }

  #connack(packet: IConnackPacket, now: number): DeviceEffect[] {
    if (this.#state !== 'connecting') return this.#end(new CulvertError('protocol_error', 'A second CONNACK.'));
    const code = (this.version === 5 ? packet.reasonCode : packet.returnCode) ?? 0;
    if (code !== 0) {
      const refusal =
        this.version === 5 ? errorFromReasonCode(code, packet.properties?.reasonString) : errorFromReturnCode(code);
      return this.#end(refusal, true);
    }
    const lowered = packet.properties?.serverKeepAlive;
    // Server Keep Alive replaces the requested one (MQTT 5 §3.2.2.3.14); pinging more often is allowed, so only lower it.
    if (lowered !== undefined && lowered > 0) this.#keepaliveMs = Math.min(this.#keepaliveMs, lowered * 1000);
    this.#state = 'subscribing';
    return this.#send(now, {
      cmd: 'subscribe',
      messageId: SUBSCRIBE_ID,
      subscriptions: [{ topic: STREAM_REQUEST_FILTER, qos: 0, nl: false, rap: false, rh: 0 }],
    });
  }

  #suback(packet: ISubackPacket): DeviceEffect[] {
    if (this.#state !== 'subscribing' || packet.messageId !== SUBSCRIBE_ID) return [];
    const granted = packet.granted[0];
    if (typeof granted !== 'number' || granted >= 0x80)
      return this.#end(new CulvertError('forbidden', 'The hub refused the subscription to stream requests.'), true);
    this.#state = 'attached';
    return [{ kind: 'attached' }];
  }

  #publish(packet: IPublishPacket, now: number): DeviceEffect[] {
    const acknowledged: DeviceEffect[] =
      packet.qos === 1 && packet.messageId !== undefined
        ? this.#send(now, { cmd: 'puback', messageId: packet.messageId, reasonCode: 0 })
        : [];
    const topic = parseOfferTopic(packet.topic);
    if (topic === undefined) return acknowledged;
    const { streamName, requestId, url, token } = topic;
    const extensions = parseOfferExtensions(packet.properties?.userProperties);
    const offer: DeviceOffer = { streamName, requestId, grant: { url, token }, ...extensions };
    return [...acknowledged, { kind: 'offer', offer }];
  }

  #send(now: number, packet: MqttPacket): DeviceEffect[] {
    this.#lastSent = now;
    return [{ kind: 'send', packet }];
  }

  #end(error: CulvertError, refused = false): DeviceEffect[] {
    this.#state = 'ended';
    return [{ kind: 'end', error, refused }];
  }
}
