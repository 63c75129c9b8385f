import type { ControlTransport } from '../control-transport.ts';
import { acceptMqtt } from './accept-mqtt.ts';

/** MQTT 3.1.1 and 5. A packet may span several WebSocket messages, and a message may contain several packets (MQTT 3.1.1 §6). */
export const MQTT_TRANSPORT: ControlTransport = {
  name: 'mqtt',
  title: 'MQTT',
  listenKey: 'mqttListen',
  // The registered name, and the name used by AWS, which some client libraries always offer.
  alpn: ['mqtt', 'x-amzn-mqtt-ca'],
  // The name in the standard, and the spelling of Azure's C client.
  subprotocols: ['mqtt', 'MQTT'],
  maxMessageBytes: ({ maxPacketBytes }) => maxPacketBytes,
  accept: acceptMqtt,
};
