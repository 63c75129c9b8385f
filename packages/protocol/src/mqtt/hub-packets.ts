import type { CulvertError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { formatOfferExtensions, type Offer } from '../offer.ts';
import { formatOfferTopic } from '../topics.ts';
import { cutUtf8 } from '../utf8.ts';
import type { IConnackPacket, IPublishPacket, MqttPacket, MqttVersion } from './codec.ts';
import { type ConnectOptions, MAX_KEEPALIVE_SECONDS } from './connect-request.ts';
import { connackReason, disconnectReason } from './reason-codes.ts';

/** The CONNACK properties that announce the hub's limits to an MQTT 5 client (§3.2.2.3). The client assumes that a feature not mentioned is available. */
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

/** The PUBLISH packet for an offer. With QoS 1 its packet id is a placeholder, replaced when the packet is sent. */
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

/** The reason string for `error`, cut to the maximum length of a rejection's reason. */
function reasonString(error: CulvertError): { reasonString: string } {
  return { reasonString: cutUtf8(error.message, LIMITS.rejectReasonBytes) };
}

/** The CONNACK that refuses a connection with `error`. */
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
