import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { peerAddress } from '@culvert/protocol';
import type { ClientCertificate } from '../../auth/client-certificate.ts';
import type { ControlDeps, ControlOrigin } from '../control-channel.ts';
import { acceptWebSocket } from '../control-web-socket.ts';
import { acceptMqtt } from './accept-mqtt.ts';

/** The subprotocols of MQTT in use: the standard's (MQTT 3.1.1 §6) and the C client's. */
export const MQTT_SUBPROTOCOLS: readonly string[] = ['mqtt', 'MQTT'];

/**
 * Opens a control channel on an upgrade request, echoing the subprotocol as it was offered. MQTT packets may span messages and share them
 * (MQTT 3.1.1 §6). Resolves as {@link acceptMqtt} does, false also when the upgrade was refused; never rejects.
 */
export function acceptMqttWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  deps: ControlDeps,
  certificate?: ClientCertificate,
): Promise<boolean> {
  const origin: ControlOrigin = { remoteAddress: peerAddress(request.socket), protocol: 'mqtt-ws', certificate };
  const dialect = {
    name: 'MQTT',
    subprotocols: MQTT_SUBPROTOCOLS,
    maxMessageBytes: deps.limits.maxPacketBytes,
    speak: (connection: Duplex) => acceptMqtt(connection, origin, deps),
  };
  return acceptWebSocket({ request, socket, head }, dialect, origin, deps);
}
