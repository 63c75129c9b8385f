import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { CulvertError, LIMITS } from '@culvert/protocol';
import { webSocketDuplex } from '@culvert/stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { reportRefusal } from './channel-events.ts';
import type { ControlDeps, ControlOrigin } from './control-channel.ts';
import type { ControlTransport } from './control-transport.ts';

/** Maximum frames (fragments) of one message. Clients send one; each buffered fragment costs memory in addition to its bytes. */
const MAX_FRAGMENTS = 64;

/** Maximum chunks in which one message may arrive. The largest message takes some 190 TCP segments; networks with small segments need more. */
const MAX_BUFFERED_CHUNKS = 1_024;

/** Maximum bytes buffered, in addition to one message, for an unauthenticated client while reading is paused to verify its credential. */
const READ_BUFFER_BYTES = 1_024;

/** Bytes allowed for frame headers before authentication: at most 14 per frame, in {@link MAX_FRAGMENTS} frames. */
const FRAMING_BYTES = 1_024;

/** The arguments of an HTTP server's `upgrade` event. */
export interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** The subprotocols that a client offers, in the client's order. */
export function offeredSubprotocols(request: IncomingMessage): string[] {
  return request.headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? [];
}

/**
 * Opens a control channel on an upgrade request. The response echoes the first offered subprotocol of the transport, in the client's spelling. Messages
 * must be binary; a packet may span several messages, and a message may contain several packets. Resolves like the transport's `accept`, and false if
 * the upgrade was refused. Never rejects.
 */
export async function acceptWebSocket(
  upgrade: Upgrade,
  transport: ControlTransport,
  origin: ControlOrigin,
  deps: ControlDeps,
): Promise<boolean> {
  try {
    return await open(upgrade, { transport, origin }, deps);
  } catch (reason) {
    reportRefusal(CulvertError.from(reason), origin, deps.onEvent);
    return false;
  }
}

/** @throws CulvertError `argument_invalid`, `device_gone` */
function open(
  { request, socket, head }: Upgrade,
  { transport, origin }: { transport: ControlTransport; origin: ControlOrigin },
  deps: ControlDeps,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const refuse = (detail: string): void => {
      socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n', () => socket.destroy());
      reject(new CulvertError('argument_invalid', detail));
    };
    const onClose = (): void => reject(new CulvertError('device_gone'));
    socket.on('error', destroyIt);
    socket.once('close', onClose);
    const subprotocol = offeredSubprotocols(request).find((name) => transport.subprotocols.includes(name));
    if (subprotocol === undefined) {
      refuse(`No WebSocket subprotocol of ${transport.title} was offered.`);
      return;
    }
    const server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: transport.maxMessageBytes(deps.limits),
      maxFragments: MAX_FRAGMENTS,
      maxBufferedChunks: MAX_BUFFERED_CHUNKS,
      handleProtocols: () => subprotocol,
    });
    server.on('wsClientError', (error) => refuse(error.message));
    server.handleUpgrade(request, socket, head, (webSocket) => {
      // Otherwise this listener would keep the request and its headers in memory for as long as the connection lives.
      socket.off('close', onClose);
      const connection = binaryOnly(webSocket, transport, deps);
      const unlimited = limitBytes(socket, connection);
      const authenticated = transport.accept(connection, origin, deps);
      void authenticated.finally(unlimited);
      resolve(authenticated);
    });
  });
}

/**
 * Limits the bytes that a client may send before it has authenticated, until the returned function is called. The limit is needed because the WebSocket
 * layer buffers a message until it is complete, and an authenticated device may send long messages.
 */
function limitBytes(socket: Duplex, connection: Duplex): () => void {
  let left = LIMITS.unauthenticatedBytes + FRAMING_BYTES;
  const count = (chunk: Buffer): void => {
    left -= chunk.length;
    if (left >= 0) return;
    unlimited();
    const detail = `The device sent more than ${LIMITS.unauthenticatedBytes} bytes before it authenticated.`;
    connection.destroy(new CulvertError('too_large', detail));
  };
  const unlimited = (): void => void socket.off('data', count);
  // Must count a chunk before the WebSocket layer reads it.
  socket.prependListener('data', count);
  return unlimited;
}

/** A function without a closure, so that the listener keeps nothing else in memory (see the `close` listener). */
function destroyIt(this: Duplex): void {
  this.destroy();
}

function binaryOnly(webSocket: WebSocket, { title }: ControlTransport, deps: ControlDeps): Duplex {
  // Added before the Duplex adds its own listener. MQTT 3.1.1 §6 and the WebSocket binding of AMQP §2.2 require that a text frame closes the
  // connection.
  webSocket.on('message', (_data, isBinary) => {
    if (!isBinary) connection.destroy(new CulvertError('protocol_error', `A text message instead of binary ${title}.`));
  });
  // No WebSocket pings: Azure's C client closes the connection when it receives one. The transport's own keepalive is used instead.
  const connection = webSocketDuplex(webSocket, {
    pingMs: 0,
    clock: deps.clock,
    readBufferBytes: READ_BUFFER_BYTES,
    // A control channel has no half-close: the client's close frame is answered at once.
    allowHalfOpen: false,
  });
  return connection;
}
