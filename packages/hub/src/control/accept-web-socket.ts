import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { AMQP_SUBPROTOCOLS } from '@culvert/protocol';
import { acceptAmqpWebSocket } from './amqp/accept-amqp-web-socket.ts';
import type { ControlDeps, TlsIdentity } from './control-channel.ts';
import { offeredSubprotocols } from './control-web-socket.ts';
import { acceptMqttWebSocket, MQTT_SUBPROTOCOLS } from './mqtt/accept-mqtt-web-socket.ts';

/**
 * Opens a control channel on an upgrade request in the dialect of the first subprotocol offered that is known; one who offers none is refused
 * with 400. Resolves true once a device has proved who it is, false when the connection or the request ended before; never rejects.
 */
export function acceptControlWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  deps: ControlDeps,
  tls: TlsIdentity = {},
): Promise<boolean> {
  const known = [...AMQP_SUBPROTOCOLS, ...MQTT_SUBPROTOCOLS];
  const first = offeredSubprotocols(request).find((name) => known.includes(name));
  const isAmqp = first !== undefined && AMQP_SUBPROTOCOLS.includes(first);
  return (isAmqp ? acceptAmqpWebSocket : acceptMqttWebSocket)(request, socket, head, deps, tls);
}
