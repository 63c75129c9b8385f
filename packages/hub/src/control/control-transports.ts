import type { ControlListenKey } from '../observe/listener.ts';
import { AMQP_TRANSPORT } from './amqp/amqp-transport.ts';
import type { ControlTransport } from './control-transport.ts';
import { MQTT_TRANSPORT } from './mqtt/mqtt-transport.ts';

/** Every protocol that control channels speak. A client that offers no WebSocket subprotocol is refused in the name of the first. */
export const CONTROL_TRANSPORTS: readonly [ControlTransport, ...ControlTransport[]] = [MQTT_TRANSPORT, AMQP_TRANSPORT];

/** The transport whose listener over TLS has this key of the configuration. */
export function transportOf(listenKey: ControlListenKey): ControlTransport {
  return CONTROL_TRANSPORTS.find((transport) => transport.listenKey === listenKey) ?? CONTROL_TRANSPORTS[0];
}
