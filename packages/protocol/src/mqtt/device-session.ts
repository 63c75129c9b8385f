import { ANNOUNCEMENT_PROPERTY, ANNOUNCEMENT_TOPIC } from '../announcement.ts';
import { CulvertError } from '../errors.ts';
import { type Identity, identityName } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { type Offer, parseOfferExtensions } from '../offer.ts';
import { formatSessionAnswer, SESSION_PROPERTY, type SessionAnswer } from '../session-negotiation.ts';
import { SESSION_REPORT_TOPIC } from '../session-report.ts';
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

/** A stream request as the device received it. */
export interface DeviceOffer extends Offer {
  /** Identifies the request in the answer. */
  readonly requestId: string;
}

/** An action that the owner of the connection must perform, in the order of the list. */
export type DeviceEffect =
  | { readonly kind: 'send'; readonly packet: MqttPacket }
  /** The hub accepted the subscription: from now on it may send offers. */
  | { readonly kind: 'attached' }
  | { readonly kind: 'offer'; readonly offer: DeviceOffer }
  /**
   * Close the connection after all packets to be sent; this is the last effect. `error` is undefined after `close()`. `refused` is true if the
   * hub refused the CONNECT or SUBSCRIBE; `error.row.retryable` then states whether a retry may succeed.
   */
  | { readonly kind: 'end'; readonly error: CulvertError | undefined; readonly refused: boolean };

export interface DeviceSessionOptions {
  /** The hub's host name as in the connection string. */
  readonly hostName: string;
  readonly identity: Identity;
  /** The SAS token; undefined when the device authenticates with a certificate in the TLS handshake. */
  readonly password: string | undefined;
  /** Seconds without traffic after which the device sends a ping; 1 to 65535. An MQTT 5 hub may lower it. */
  readonly keepaliveSeconds: number;
  /** Default 5. With version 4 (MQTT 3.1.1) offers have no stream id and caller, and refusals no reason text. */
  readonly version?: MqttVersion;
  /** Sent as `DeviceClientType`, for the hub's logs. */
  readonly clientType?: string;
  /** Public keys of the device's SSH server, `TYPE BASE64`, for the hub to register (MQTT 5). */
  readonly sshHostKeys?: readonly string[];
  /** The announcement's text (MQTT 5); default none. */
  readonly announcement?: string | undefined;
}

/** The device's answer to an offer. */
export interface DeviceAnswer {
  readonly requestId: string;
  readonly accepted: boolean;
  /** Why it was rejected. */
  readonly reason?: string | undefined;
  /** The session that the device chose (MQTT 5), with `accepted`. */
  readonly session?: SessionAnswer | undefined;
}

const SUBSCRIBE_ID = 1;

type State = 'new' | 'connecting' | 'subscribing' | 'attached' | 'ended';

/**
 * The device's side of an MQTT control channel, as a state machine: its inputs are packets and the time, its outputs are effects. It does no
 * I/O and has no timer: its owner must call {@link tick} at {@link deadline}. A session is used for one connection only.
 */
export class DeviceSession {
  readonly version: MqttVersion;
  readonly #options: DeviceSessionOptions;
  #state: State = 'new';
  #keepaliveMs: number;
  /** The time by which CONNACK and SUBACK must have been received; ms since the epoch. */
  #attachBy = 0;
  #lastSent = 0;
  #lastReceived = 0;
  /** The time at which the unanswered PINGREQ was sent; undefined when none is unanswered. */
  #pingSentAt: number | undefined;

  constructor(options: DeviceSessionOptions) {
    this.#options = options;
    this.version = options.version ?? 5;
    this.#keepaliveMs = options.keepaliveSeconds * 1000;
  }

  /** The time of the next {@link tick} call, in ms since the epoch; undefined when none is needed. It may become later at any time. */
  get deadline(): number | undefined {
    if (this.#state === 'new' || this.#state === 'ended') return undefined;
    if (this.#state !== 'attached') return this.#attachBy;
    return this.#pingSentAt === undefined
      ? Math.min(this.#lastSent, this.#lastReceived) + this.#keepaliveMs
      : this.#pingSentAt + this.#keepaliveMs;
  }

  /** Begins the session when the transport is open. Returns the CONNECT to send. */
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
    const { sshHostKeys = [], announcement } = this.#options;
    const userProperties = {
      ...(sshHostKeys.length === 0 ? {} : { [SSH_HOST_KEY_PROPERTY]: [...sshHostKeys] }),
      ...(announcement === undefined ? {} : { [ANNOUNCEMENT_PROPERTY]: announcement }),
    };
    const named = Object.keys(userProperties).length === 0 ? {} : { userProperties };
    return { maximumPacketSize: LIMITS.mqttPacketBytes, ...named };
  }

  /** Handles a packet from the hub. */
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
        this.#pingSentAt = undefined;
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

  /** Handles the passing of time: returns a PINGREQ when one is due, or the `end` effect when the hub did not answer in time. */
  tick(now: number): DeviceEffect[] {
    const deadline = this.deadline;
    if (deadline === undefined || now < deadline) return [];
    if (this.#state !== 'attached') {
      const waited = LIMITS.authenticateMs / 1000;
      return this.#end(new CulvertError('unreachable', `The hub did not accept the device within ${waited} s.`));
    }
    if (this.#pingSentAt !== undefined)
      return this.#end(new CulvertError('keepalive_timeout', 'The hub did not answer a ping.'));
    this.#pingSentAt = now;
    return this.#send(now, { cmd: 'pingreq' });
  }

  /** Answers an offer. The `reason` of a rejection is sent as UTF-8 payload and cut to LIMITS.rejectReasonBytes. */
  answer(answer: DeviceAnswer, now: number): DeviceEffect[] {
    const { accepted, reason = '', session } = answer;
    const userProperties =
      accepted && session !== undefined ? { [SESSION_PROPERTY]: formatSessionAnswer(session) } : undefined;
    const payload = accepted ? '' : cutUtf8(reason, LIMITS.rejectReasonBytes);
    return this.#publishTo(formatAnswerTopic(answer), payload, now, userProperties);
  }

  /** Announces again what the device can do, which replaces what it announced before. No effect over MQTT 3.1.1 and before it is attached. */
  announce(text: string, now: number): DeviceEffect[] {
    return this.version === 5 ? this.#publishTo(ANNOUNCEMENT_TOPIC, text, now) : [];
  }

  /** Reports on the connections of a session. No effect over MQTT 3.1.1 and before it is attached. */
  report(text: string, now: number): DeviceEffect[] {
    return this.version === 5 ? this.#publishTo(SESSION_REPORT_TOPIC, text, now) : [];
  }

  /** Closes the session: returns a DISCONNECT to send and the `end` effect. */
  close(now: number): DeviceEffect[] {
    if (this.#state === 'ended') return [];
    const disconnect = this.#state === 'new' ? [] : this.#send(now, { cmd: 'disconnect', reasonCode: 0 });
    this.#state = 'ended';
    return [...disconnect, { kind: 'end', error: undefined, refused: false }];
  }

  #connack(packet: IConnackPacket, now: number): DeviceEffect[] {
    if (this.#state !== 'connecting')
      return this.#end(new CulvertError('protocol_error', 'The hub sent a second CONNACK.'));
    const code = (this.version === 5 ? packet.reasonCode : packet.returnCode) ?? 0;
    if (code !== 0) {
      const refusal =
        this.version === 5 ? errorFromReasonCode(code, packet.properties?.reasonString) : errorFromReturnCode(code);
      return this.#end(refusal, true);
    }
    const serverKeepAlive = packet.properties?.serverKeepAlive;
    // Server Keep Alive replaces the requested keepalive (MQTT 5 §3.2.2.3.14). A longer one is ignored because more frequent pings are allowed.
    if (serverKeepAlive !== undefined && serverKeepAlive > 0)
      this.#keepaliveMs = Math.min(this.#keepaliveMs, serverKeepAlive * 1000);
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

  #publishTo(
    topic: string,
    payload: string,
    now: number,
    userProperties?: Readonly<Record<string, string>>,
  ): DeviceEffect[] {
    if (this.#state !== 'attached') return [];
    return this.#send(now, {
      cmd: 'publish',
      topic,
      payload,
      // A publication can only be lost together with the connection, so the acknowledgement of QoS 1 would add nothing.
      qos: 0,
      dup: false,
      retain: false,
      ...(this.version === 5 && userProperties !== undefined ? { properties: { userProperties } } : {}),
    });
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
