import { connect as connectTls } from 'node:tls';
import {
  ANNOUNCEMENT_PROPERTY,
  ANNOUNCEMENT_TOPIC,
  API_VERSION,
  formatAnswerTopic,
  formatAuthority,
  parseOfferTopic,
  SESSION_PROPERTY,
  SESSION_REPORT_SUBJECT,
  SESSION_REPORT_TOPIC,
  STREAM_PROPERTIES,
} from '@culvert/protocol';
import type { Grant } from '@culvert/protocol/grant';
import { AmqpDevice, MqttDevice, sasCredentials, type TestHub } from '@culvert/testkit';

/** The identity of every device here. */
export const DEVICE = { deviceId: 'd' };

/** An offer as it came over the wire. */
export interface RawOffer {
  readonly requestId: string;
  readonly grant: Grant;
  /** All properties that the transport showed. */
  readonly properties: Readonly<Record<string, unknown>>;
}

/** A device that speaks one transport, packet by packet, with what is negotiated beyond the Azure protocol as text. */
export interface SessionDevice {
  nextOffer(): Promise<RawOffer>;
  /** @param session the text of the answer's property, as it stands */
  accept(offer: RawOffer, session?: string): void;
  /** Resolves when the hub has received it. */
  announce(text: string): Promise<void>;
  /** Resolves when the hub has received it. */
  report(text: string): Promise<void>;
  drop(): void;
}

/** Registers a device and attaches it. @param announcement of its connection, as it stands */
export type AttachSessionDevice = (hub: TestHub, expiresAt: number, announcement?: string) => Promise<SessionDevice>;

export function attachMqtt(version: 4 | 5): AttachSessionDevice {
  return async (hub, expiresAt, announcement) => {
    const { token = '' } = await sasCredentials.register(hub, DEVICE, expiresAt);
    const socket = connectTls({ host: '127.0.0.1', port: hub.hub.mqttAddress?.port ?? 0, ca: hub.ca });
    const device = new MqttDevice(socket, version);
    // MQTT 3.1.1 has no properties.
    const own = (userProperties: Record<string, string>) =>
      version === 4 || Object.keys(userProperties).length === 0 ? {} : { properties: { userProperties } };
    await device.connect('d', {
      username: `${formatAuthority(hub.hostName, hub.port)}/d/?api-version=${API_VERSION}`,
      password: Buffer.from(token),
      ...own(announcement === undefined ? {} : { [ANNOUNCEMENT_PROPERTY]: announcement }),
    });
    await device.subscribe();
    const send = (topic: string, payload: string, properties: Record<string, string> = {}) =>
      device.send({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false, ...own(properties) });
    const sendAndWait = async (topic: string, payload: string) => {
      send(topic, payload);
      device.send({ cmd: 'pingreq' });
      await device.take('pingresp');
    };
    return {
      async nextOffer() {
        const { topic, properties } = await device.take('publish');
        const parsed = parseOfferTopic(topic);
        if (parsed === undefined) throw new Error(`${topic} is not an offer.`);
        const { requestId, url, token: grant } = parsed;
        return { requestId, grant: { url, token: grant }, properties: { ...properties?.userProperties } };
      },
      accept({ requestId }, session) {
        const properties: Record<string, string> = session === undefined ? {} : { [SESSION_PROPERTY]: session };
        send(formatAnswerTopic({ requestId, accepted: true }), '', properties);
      },
      announce: (text) => sendAndWait(ANNOUNCEMENT_TOPIC, text),
      report: (text) => sendAndWait(SESSION_REPORT_TOPIC, text),
      drop: () => socket.destroy(),
    };
  };
}

export const attachAmqp: AttachSessionDevice = async (hub, expiresAt, announcement) => {
  const { token } = await sasCredentials.register(hub, DEVICE, expiresAt);
  const socket = connectTls({ host: '127.0.0.1', port: hub.hub.amqpAddress?.port ?? 0, ca: hub.ca });
  const device = new AmqpDevice(socket);
  await device.opened();
  await device.putToken(DEVICE, token);
  await device.attachStreams(
    DEVICE,
    undefined,
    announcement === undefined ? {} : { [ANNOUNCEMENT_PROPERTY]: announcement },
  );
  const sendAndWait = async (subject: string, text: string) => {
    device.tell(subject, text);
    // Its answer comes when the hub has received what was sent before.
    await device.putToken(DEVICE, token);
  };
  return {
    async nextOffer() {
      const { correlationId, message } = await device.nextOffer();
      const shown = message.application_properties ?? {};
      const grant = { url: String(shown[STREAM_PROPERTIES.url]), token: String(shown[STREAM_PROPERTIES.token]) };
      return { requestId: correlationId, grant, properties: shown };
    },
    accept: ({ requestId: correlationId }, session) => device.answer({ correlationId, accepted: true, session }),
    announce: (text) => sendAndWait(ANNOUNCEMENT_PROPERTY, text),
    report: (text) => sendAndWait(SESSION_REPORT_SUBJECT, text),
    drop: () => socket.destroy(),
  };
};
