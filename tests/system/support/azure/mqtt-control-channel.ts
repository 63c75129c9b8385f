import type { HubProcess } from '../hub-process.ts';
import { seconds } from '../sas.ts';
import type { ByteLink, OpenByteLink } from './byte-link.ts';
import type { AzureControlChannel, AzureRequest, OpenControlChannel, RequestListener } from './control-channel.ts';
import { type AzureConnectionString, audienceOf, csharpToken, cToken } from './credentials.ts';
import {
  connectPacket,
  publishPacket,
  readPublish,
  subscribePacket,
  TYPE,
  uint16,
  unsubscribePacket,
  type WirePacket,
  WireReader,
  wirePacket,
} from './mqtt-wire.ts';

const REQUESTS = '$iothub/streams/POST/#';
const RESPONSES = '$iothub/streams/res/#';

/** Milliseconds that a client waits for an answer of the hub before it gives up. */
const ANSWER_MS = 30_000;

/** The differences between Azure's MQTT clients. */
interface MqttVariant {
  readonly cleanSession: boolean;
  /** Seconds. */
  readonly keepAlive: number;
  readonly clientType: string;
  readonly token: (audience: string, key: string, expiry: number) => string;
  /** The SUBSCRIBE packets, each with its topic filters. */
  readonly subscriptions: readonly (readonly string[])[];
  readonly firstPacketId: number;
  /** The QoS of the client's subscriptions and of its answers. */
  readonly qos: 0 | 1;
}

const C_OVER_MQTT: MqttVariant = {
  cleanSession: false,
  keepAlive: 240,
  clientType: 'iothubclient%2f1.9.0%20(native%3b%20Linux%3b%20x86_64)',
  token: cToken,
  subscriptions: [[REQUESTS, RESPONSES]],
  firstPacketId: 2,
  qos: 0,
};

const CSHARP: MqttVariant = {
  cleanSession: false,
  keepAlive: 300,
  clientType: encodeURIComponent('.NET/1.32.0-preview-001 (.NET Core 3.1; Linux; X64)'),
  token: csharpToken,
  subscriptions: [[REQUESTS], [RESPONSES]],
  firstPacketId: 1,
  qos: 1,
};

interface MqttTransport {
  readonly hub: HubProcess;
  readonly device: AzureConnectionString;
  readonly link: OpenByteLink;
}

/** The C client over MQTT: one SUBSCRIBE packet with id 2, answers of QoS 0. */
export function cOverMqtt(transport: MqttTransport): OpenControlChannel {
  return (onRequest) => MqttControlChannel.open(transport, C_OVER_MQTT, onRequest);
}

/** The C# client over MQTT: two SUBSCRIBE packets, answers of QoS 1 whose acknowledgement it awaits. */
export function csharpOverMqtt(transport: MqttTransport): OpenControlChannel {
  return (onRequest) => MqttControlChannel.open(transport, CSHARP, onRequest);
}

class MqttControlChannel implements AzureControlChannel {
  readonly ended: Promise<void>;
  readonly #link: ByteLink;
  readonly #variant: MqttVariant;
  /** Callbacks that wait for a packet from the hub, keyed by the packet's type and id. */
  readonly #awaited = new Map<string, (packet: WirePacket) => void>();
  #nextId: number;

  private constructor(link: ByteLink, variant: MqttVariant) {
    this.#link = link;
    this.#variant = variant;
    this.#nextId = variant.firstPacketId;
    this.ended = link.ended;
  }

  static async open(
    { hub, device, link: openLink }: MqttTransport,
    variant: MqttVariant,
    onRequest: RequestListener,
  ): Promise<MqttControlChannel> {
    const reader = new WireReader();
    let receive: (packet: WirePacket) => void = () => undefined;
    const link = await openLink(hub, (bytes) => {
      for (const packet of reader.push(bytes)) receive(packet);
    });
    const channel = new MqttControlChannel(link, variant);
    receive = (packet) => channel.#receive(packet, onRequest);
    await channel.#connect(device);
    for (const filters of variant.subscriptions) await channel.#subscribe(filters);
    return channel;
  }

  async #connect(device: AzureConnectionString): Promise<void> {
    const { cleanSession, keepAlive, clientType, token } = this.#variant;
    const clientId = device.moduleId === undefined ? device.deviceId : `${device.deviceId}/${device.moduleId}`;
    const username = `${device.hostName}/${clientId}/?api-version=2020-09-30&DeviceClientType=${clientType}`;
    const password = token(audienceOf(device), device.key, seconds(3600));
    const answer = this.#await(TYPE.connack);
    this.#link.send(connectPacket({ clientId, username, password, cleanSession, keepAlive }));
    const { body } = await answer;
    if (body[1] !== 0) throw new Error(`CONNACK ${body[1]}`);
  }

  async #subscribe(filters: readonly string[]): Promise<void> {
    const { qos } = this.#variant;
    const id = this.#nextId++;
    const answer = this.#await(TYPE.suback, id);
    this.#link.send(subscribePacket(id, filters, qos));
    const granted = [...(await answer).body.subarray(2)];
    if (granted.length !== filters.length || granted.some((code) => code !== qos)) throw new Error(`SUBACK ${granted}`);
  }

  async answer({ requestId }: AzureRequest, accepted: boolean): Promise<void> {
    const topic = `$iothub/streams/res/${accepted ? 200 : 400}/?$rid=${requestId}`;
    if (this.#variant.qos === 0) return this.#link.send(publishPacket(topic));
    const id = this.#nextId++;
    const acknowledged = this.#await(TYPE.puback, id);
    this.#link.send(publishPacket(topic, id));
    await acknowledged;
  }

  async unsubscribe(): Promise<void> {
    for (const filters of this.#variant.subscriptions) {
      const id = this.#nextId++;
      const answer = this.#await(TYPE.unsuback, id);
      this.#link.send(unsubscribePacket(id, filters));
      await answer;
    }
  }

  async close(): Promise<void> {
    this.#link.send(wirePacket(TYPE.disconnect, 0));
    await this.ended;
  }

  drop(): void {
    this.#link.drop();
  }

  #receive(packet: WirePacket, onRequest: RequestListener): void {
    if (packet.type === TYPE.publish) {
      const { topic, id } = readPublish(packet);
      if (id !== undefined) this.#link.send(wirePacket(TYPE.puback, 0, uint16(id)));
      onRequest(parseRequestTopic(topic), this);
      return;
    }
    const key = awaitedKey(packet.type, packet.type === TYPE.connack ? undefined : packet.body.readUInt16BE(0));
    this.#awaited.get(key)?.(packet);
    this.#awaited.delete(key);
  }

  #await(type: number, id?: number): Promise<WirePacket> {
    const key = awaitedKey(type, id);
    const packet = new Promise<WirePacket>((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`the hub did not answer with a packet of type ${key}`)),
        ANSWER_MS,
      );
      const settle = (act: () => void) => {
        clearTimeout(late);
        act();
      };
      this.#awaited.set(key, (came) => settle(() => resolve(came)));
      void this.ended.then(() =>
        settle(() => reject(new Error(`the hub closed where a packet of type ${key} was due`))),
      );
    });
    // If sending fails first, the caller does not await this promise, so its rejection must be handled here.
    packet.catch(() => undefined);
    return packet;
  }
}

const awaitedKey = (type: number, id: number | undefined) => `${type}${id === undefined ? '' : ` with id ${id}`}`;

/**
 * Parses a request's topic as the clients' own parsers do.
 * @throws Error where they fail: not exactly five levels, a parameter that is not exactly `key=value`, a missing parameter
 */
export function parseRequestTopic(topic: string): AzureRequest {
  const [root, kind, verb, streamName, query = '', ...more] = topic.split('/');
  if (`${root}/${kind}/${verb}` !== '$iothub/streams/POST' || !streamName || !query.startsWith('?') || more.length > 0)
    throw new Error(`Azure's clients cannot read this topic: ${topic}`);
  const values = new Map<string, string>();
  for (const parameter of query.slice(1).split('&')) {
    const [key, value, ...rest] = parameter.split('=');
    if (!key || !value || rest.length > 0) throw new Error(`not key=value: ${parameter}`);
    values.set(key, value);
  }
  const [requestId, url, token] = ['$rid', '$url', '$auth'].map((key) => values.get(key));
  if (requestId === undefined || url === undefined || token === undefined) throw new Error(`incomplete: ${topic}`);
  // The clients decode the URL only.
  return { requestId, streamName, url: decodeURIComponent(url), token };
}
