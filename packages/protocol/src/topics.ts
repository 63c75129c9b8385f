import { CulvertError } from './errors.ts';

/** The topic filter for stream requests in Azure's protocol (docs/protocol/03-control-channel-mqtt.md). */
export const STREAM_REQUEST_FILTER = '$iothub/streams/POST/#';
/** Another topic filter that Azure's C client subscribes to; the hub never publishes to a topic that matches it. */
export const STREAM_RESPONSE_FILTER = '$iothub/streams/res/#';
/** The URL path of control channels over WebSocket. */
export const CONTROL_PATH = '/$iothub/websocket';

/** The fields in the topic of a stream request. The other fields of an `Offer` are in the user properties of the message. */
export interface OfferTopic {
  readonly streamName: string;
  /** Identifies the request in the answer: 1 to 32 characters of `[0-9a-zA-Z-]`. */
  readonly requestId: string;
  /** The URL of the device's grant. */
  readonly url: string;
  /** The token of the device's grant. */
  readonly token: string;
}

/**
 * Formats the topic `$iothub/streams/POST/{name}/?$rid={rid}&$url={encoded url}&$auth={token}`. Azure's parsers require exactly five levels,
 * the parameters in this order, and percent-encoding only of the URL.
 */
export function formatOfferTopic(offer: OfferTopic): string {
  return `$iothub/streams/POST/${offer.streamName}/?$rid=${offer.requestId}&$url=${encodeURIComponent(offer.url)}&$auth=${offer.token}`;
}

/** Parses an offer's topic; undefined for any other topic. Unknown parameters are ignored. */
export function parseOfferTopic(topic: string): OfferTopic | undefined {
  const match = /^\$iothub\/streams\/POST\/([^/]+)\/\?([^/]+)$/.exec(topic);
  if (match === null) return undefined;
  const parameters = parseParameters(match[2] as string);
  const [requestId, url, token] = [parameters.get('$rid'), parameters.get('$url'), parameters.get('$auth')];
  if (!requestId || !url || !token) return undefined;
  try {
    return { streamName: match[1] as string, requestId, url: decodeURIComponent(url), token };
  } catch {
    return undefined;
  }
}

/** Formats the topic of a device's answer: `$iothub/streams/res/{200|400}/?$rid={rid}`. */
export function formatAnswerTopic(answer: { requestId: string; accepted: boolean }): string {
  return `$iothub/streams/res/${answer.accepted ? 200 : 400}/?$rid=${answer.requestId}`;
}

/**
 * Parses the topic of a device's answer; undefined for any other topic.
 * @throws CulvertError `protocol_error` when the topic of an answer is malformed
 */
export function parseAnswerTopic(topic: string): { requestId: string; accepted: boolean } | undefined {
  if (!topic.startsWith('$iothub/streams/res/')) return undefined;
  const match = /^\$iothub\/streams\/res\/(\d{3})\/\?(.+)$/.exec(topic);
  const requestId = match === null ? undefined : parseParameters(match[2] as string).get('$rid');
  if (match === null || !requestId || requestId.length > 64)
    throw new CulvertError('protocol_error', 'A stream answer has a malformed topic.');
  return { requestId, accepted: match[1] === '200' };
}

function parseParameters(query: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const part of query.split('&')) {
    const at = part.indexOf('=');
    if (at > 0) found.set(part.slice(0, at), part.slice(at + 1));
  }
  return found;
}
