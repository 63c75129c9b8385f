import type { CulvertError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { formatOfferExtensions, type Offer } from '../offer.ts';
import { formatOfferTopic } from '../topics.ts';
import { cutUtf8 } from '../utf8.ts';
import type { IConnackPacket, IPublishPacket, MqttPacket, MqttVersion } from './codec.ts';
import { type ConnectOptions, MAX_KEEPALIVE_SECONDS } from './connect-request.ts';
import { connackReason, disconnectReason } from './reason-codes.ts';

/** What the CONNACK of MQTT 5 tells of the hub (§3.2.2.3): what is not announced would be taken for available. */
export function announcements(
  options: ConnectOptions,
  maxPacketBytes: number,
): NonNullable<IConnackPacket['properties']> {
  return {
    sessionExpiryInterval: 0,
    maximumQoS: 1,
    retainAvailable: false,
    maximumPacketSize: maxPacketBytes,
    topicAliasMaximum: 0,
    wildcardSubscriptionAvailable: true,
    subscriptionIdentifiersAvailable: false,
    sharedSubscriptionAvailable: false,
    ...(options.capsKeepalive ? { serverKeepAlive: MAX_KEEPALIVE_SECONDS } : {}),
  };
}

/** The PUBLISH of an offer; of QoS 1 with a packet id to be replaced by the one it is sent with. */
export function offerPublication(
  offer: Offer,
  as: { requestId: string; qos: 0 | 1; version: MqttVersion },
): IPublishPacket {
  return {
    cmd: 'publish',
    topic: formatOfferTopic({ streamName: offer.streamName, ...offer.grant, requestId: as.requestId }),
    payload: '',
    qos: as.qos,
    dup: false,
    retain: false,
    ...(as.qos === 1 ? { messageId: 1 } : {}),
    ...(as.version === 5 ? { properties: { userProperties: formatOfferExtensions(offer) } } : {}),
  };
}

/** The longest reason string sent, in bytes: as long as a rejection's reason. */
function reasonString(error: CulvertError): { reasonString: string } {
  return { reasonString: cutUtf8(error.message, LIMITS.rejectReasonBytes) };
}

/** The CONNACK that refuses with `error`. */
export function refusal(error: CulvertError, version: MqttVersion): MqttPacket {
  return {
    cmd: 'connack',
    sessionPresent: false,
    returnCode: error.row.connack,
    reasonCode: connackReason(error),
    ...(version === 5 ? { properties: reasonString(error) } : {}),
  };
}

/** The MQTT 5 DISCONNECT that carries `error`. */
export function disconnectPacket(error: CulvertError): MqttPacket {
  return { cmd: 'disconnect', reasonCode: disconnectReason(error), properties: reasonString(error) };
}
