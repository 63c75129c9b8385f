import type { ControlListenKey } from '../observe/listener.ts';
import { AMQP_TRANSPORT } from './amqp/amqp-transport.ts';
import type { ControlTransport } from './control-transport.ts';
import { MQTT_TRANSPORT } from './mqtt/mqtt-transport.ts';

/** All protocols of control channels. A client that offers no known WebSocket subprotocol is refused by the first transport. */
export const CONTROL_TRANSPORTS: readonly [ControlTransport, ...ControlTransport[]] = [MQTT_TRANSPORT, AMQP_TRANSPORT];

/** The transport whose TLS listener has this configuration key. */
export function transportOf(listenKey: ControlListenKey): ControlTransport {
  return CONTROL_TRANSPORTS.find((transport) => transport.listenKey === listenKey) ?? CONTROL_TRANSPORTS[0];
}
