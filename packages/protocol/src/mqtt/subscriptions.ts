import type { ISubscribePacket, MqttVersion } from './codec.ts';

/** Maximum subscriptions of one device: it needs one, and clients with telemetry and twins make about ten more. */
export const MAX_SUBSCRIPTIONS = 64;

/** Characters of a topic filter: a filter for offers has at most about 160. */
const MAX_FILTER_LENGTH = 1024;

/** SUBACK reason codes of MQTT 5 (§3.9.3); MQTT 3.1.1 has only 0x80. */
const REFUSED = 0x80;
const FILTER_INVALID = 0x8f;
const QUOTA_EXCEEDED = 0x97;
const SHARED_UNAVAILABLE = 0x9e;

const NOT_SUBSCRIBED = 0x11;

/** The levels in the topic of an offer; undefined stands for a level that is different in each offer. */
const OFFER_LEVELS: readonly (string | undefined)[] = ['$iothub', 'streams', 'POST', undefined, undefined];

/** Whether `filter` matches the topic of every offer (MQTT 3.1.1 §4.7; a leading wildcard does not match `$`). */
export function matchesEveryOffer(filter: string): boolean {
  const levels = filter.split('/');
  if (levels[0] !== OFFER_LEVELS[0]) return false;
  for (const [index, wanted] of OFFER_LEVELS.entries()) {
    const level = levels[index];
    if (level === '#') return true;
    if (level !== '+' && (wanted === undefined || level !== wanted)) return false;
  }
  // `a/#` also matches `a` itself (§4.7.1.2).
  return levels.length === OFFER_LEVELS.length || (levels.length === OFFER_LEVELS.length + 1 && levels.at(-1) === '#');
}

/** Whether `filter` matches `topic` (MQTT 3.1.1 §4.7). */
function matchesTopic(filter: string, topic: string): boolean {
  const levels = filter.split('/');
  const names = topic.split('/');
  // §4.7.2: a leading wildcard does not match a topic that begins with `$`.
  if (topic.startsWith('$') && /^[+#]/.test(filter)) return false;
  for (const [index, level] of levels.entries()) {
    if (level === '#') return true;
    if (level !== '+' && level !== names[index]) return false;
    if (index >= names.length) return false;
  }
  return levels.length === names.length;
}

/** Whether `filter` is a valid topic filter (MQTT 3.1.1 §4.7.1): not empty, `#` only as the last level, wildcards only as whole levels, no U+0000. */
export function isTopicFilter(filter: string): boolean {
  if (filter === '' || filter.length > MAX_FILTER_LENGTH || filter.includes('\0')) return false;
  const levels = filter.split('/');
  return levels.every((level, index) =>
    level === '#' ? index === levels.length - 1 : level === '+' || !/[+#]/.test(level),
  );
}

/** The subscriptions of one device. Filters that match no topic of the hub are granted as well. */
export class Subscriptions {
  /** The granted QoS by filter. */
  readonly #granted = new Map<string, 0 | 1>();

  /** Handles a SUBSCRIBE. Returns the reason codes for its SUBACK, one per filter. */
  subscribe(packet: ISubscribePacket, version: MqttVersion): number[] {
    return packet.subscriptions.map(({ topic, qos }) => {
      const code = this.#subscribe(topic, qos);
      return version === 4 && code > 1 ? REFUSED : code;
    });
  }

  #subscribe(filter: string, qos: number): number {
    if (!isTopicFilter(filter)) return FILTER_INVALID;
    if (filter.startsWith('$share/')) return SHARED_UNAVAILABLE;
    if (!this.#granted.has(filter) && this.#granted.size >= MAX_SUBSCRIPTIONS) return QUOTA_EXCEEDED;
    const granted = qos === 0 ? 0 : 1;
    this.#granted.set(filter, granted);
    return granted;
  }

  /** Handles an UNSUBSCRIBE. Returns the reason codes for its UNSUBACK, one per filter; MQTT 3.1.1 does not send them. */
  unsubscribe(filters: readonly string[]): number[] {
    return filters.map((filter) => (this.#granted.delete(filter) ? 0 : NOT_SUBSCRIBED));
  }

  /** Whether the device is subscribed to `topic`. */
  covers(topic: string): boolean {
    return [...this.#granted.keys()].some((filter) => matchesTopic(filter, topic));
  }

  /** The QoS with which offers are sent: the highest QoS of the filters that match them; undefined when no filter does. */
  get offerQos(): 0 | 1 | undefined {
    let highest: 0 | 1 | undefined;
    for (const [filter, qos] of this.#granted) {
      if (matchesEveryOffer(filter) && (highest === undefined || qos > highest)) highest = qos;
    }
    return highest;
  }
}
