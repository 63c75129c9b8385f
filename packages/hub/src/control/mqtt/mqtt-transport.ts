import type { ControlTransport } from '../control-transport.ts';
import { acceptMqtt } from './accept-mqtt.ts';

/** MQTT 3.1.1 and 5. Packets may span WebSocket messages and share them (MQTT 3.1.1 §6). */
export const MQTT_TRANSPORT: ControlTransport = {
  name: 'mqtt',
  title: 'MQTT',
  listenKey: 'mqttListen',
  // The registered name, and AWS's, which some libraries always offer.
  alpn: ['mqtt', 'x-amzn-mqtt-ca'],
  // The standard's, and the C client's.
  subprotocols: ['mqtt', 'MQTT'],
  maxMessageBytes: ({ maxPacketBytes }) => maxPacketBytes,
  accept: acceptMqtt,
};
