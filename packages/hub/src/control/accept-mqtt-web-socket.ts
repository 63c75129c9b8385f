import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { CulvertError, peerAddress } from '@culvert/protocol';
import { webSocketDuplex } from '@culvert/stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { ClientCertificate } from '../auth/client-certificate.ts';
import { acceptMqtt } from './accept-mqtt.ts';
import { reportRefusal } from './channel-events.ts';
import type { ControlDeps, ControlOrigin } from './control-channel.ts';

/** The subprotocols of MQTT in use: the standard's (MQTT 3.1.1 §6) and the C client's. */
const SUBPROTOCOLS = ['mqtt', 'MQTT'];

/** Frames a message may come in: clients send one; each fragment held costs memory beside its bytes. */
const MAX_FRAGMENTS = 64;

/** Pieces in which the largest message may arrive: some 190 TCP segments, with room for odd networks. */
const MAX_BUFFERED_CHUNKS = 1_024;

/**
 * Opens a control channel on an upgrade request, echoing the subprotocol as it was offered. MQTT packets may span messages and share them
 * (MQTT 3.1.1 §6). Resolves as {@link acceptMqtt} does, false also when the upgrade was refused; never rejects.
 */
export async function acceptMqttWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  deps: ControlDeps,
  certificate?: ClientCertificate,
): Promise<boolean> {
  const origin: ControlOrigin = { remoteAddress: peerAddress(request.socket), protocol: 'mqtt-ws', certificate };
  try {
    return await upgrade(request, socket, head, deps, (connection) => acceptMqtt(connection, origin, deps));
  } catch (reason) {
    reportRefusal(CulvertError.from(reason), origin, deps.onEvent);
    return false;
  }
}

/**
 * @param speak takes the connection in the turn in which it is made: a frame may have come with the request, and break it at once
 * @throws CulvertError `argument_invalid`, `device_gone`
 */
function upgrade(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  deps: ControlDeps,
  speak: (connection: Duplex) => Promise<boolean>,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const refuse = (detail: string): void => {
      socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n', () => socket.destroy());
      reject(new CulvertError('argument_invalid', detail));
    };
    socket.on('error', () => socket.destroy());
    socket.once('close', () => reject(new CulvertError('device_gone')));
    const offered = request.headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? [];
    const subprotocol = offered.find((name) => SUBPROTOCOLS.includes(name));
    if (subprotocol === undefined) {
      refuse('The WebSocket subprotocol mqtt was not offered.');
      return;
    }
    const server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: deps.limits.maxPacketBytes,
      maxFragments: MAX_FRAGMENTS,
      maxBufferedChunks: MAX_BUFFERED_CHUNKS,
      handleProtocols: () => subprotocol,
    });
    server.on('wsClientError', (error) => refuse(error.message));
    server.handleUpgrade(request, socket, head, (webSocket) => resolve(speak(binaryOnly(webSocket, deps))));
  });
}

function binaryOnly(webSocket: WebSocket, deps: ControlDeps): Duplex {
  // Before the Duplex sees the message: MQTT 3.1.1 §6 wants the connection closed on a text frame.
  webSocket.on('message', (_data, isBinary) => {
    if (!isBinary) connection.destroy(new CulvertError('protocol_error', 'A text message where MQTT is spoken.'));
  });
  // The preview's C client breaks the connection when it is pinged; MQTT's own keepalive does the work.
  const connection = webSocketDuplex(webSocket, { pingMs: 0, clock: deps.clock });
  return connection;
}
