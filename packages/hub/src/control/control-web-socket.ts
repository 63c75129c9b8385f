import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { CulvertError, LIMITS } from '@culvert/protocol';
import { webSocketDuplex } from '@culvert/stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { reportRefusal } from './channel-events.ts';
import type { ControlDeps, ControlOrigin } from './control-channel.ts';
import type { ControlTransport } from './control-transport.ts';

/** Frames a message may come in: clients send one; each fragment held costs memory beside its bytes. */
const MAX_FRAGMENTS = 64;

/** Pieces in which the largest message may arrive: some 190 TCP segments, with room for odd networks. */
const MAX_BUFFERED_CHUNKS = 1_024;

/** Maximum bytes of an unauthenticated client that are buffered, besides one message, while its credential is verified and reading is paused. */
const READ_BUFFER_BYTES = 1_024;

/** Bytes that the frames of a small exchange add to it: at most 14 each, in {@link MAX_FRAGMENTS} of them. */
const FRAMING_BYTES = 1_024;

/** A request to upgrade, as a server hands it over. */
export interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** The subprotocols a client offers, in its order. */
export function offeredSubprotocols(request: IncomingMessage): string[] {
  return request.headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? [];
}

/**
 * Opens a control channel on an upgrade request, echoing the first subprotocol offered that is one of the transport's, as it was offered.
 * Messages must be binary; what is spoken in them may span and share them. Resolves as the transport's `accept` does, false also when the upgrade was
 * refused; never rejects.
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
      // A listener left behind would keep the request and its headers for as long as the device stays.
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
 * Until the returned function is called, a peer may send no more than authentication needs: WebSocket keeps a message until it is whole, and those of
 * devices may be long.
 */
function limitBytes(socket: Duplex, connection: Duplex): () => void {
  let left = LIMITS.unauthenticatedBytes + FRAMING_BYTES;
  const count = (chunk: Buffer): void => {
    left -= chunk.length;
    if (left >= 0) return;
    unlimited();
    const detail = `More than ${LIMITS.unauthenticatedBytes} bytes before the device proved who it is.`;
    connection.destroy(new CulvertError('too_large', detail));
  };
  const unlimited = (): void => void socket.off('data', count);
  // Before the WebSocket server takes it.
  socket.prependListener('data', count);
  return unlimited;
}

/** Nothing else is in reach of it: see the listener to 'close'. */
function destroyIt(this: Duplex): void {
  this.destroy();
}

function binaryOnly(webSocket: WebSocket, { title }: ControlTransport, deps: ControlDeps): Duplex {
  // Before the Duplex sees the message: MQTT 3.1.1 §6 and the WebSocket binding of AMQP §2.2 want the connection closed on a text frame.
  webSocket.on('message', (_data, isBinary) => {
    if (!isBinary) connection.destroy(new CulvertError('protocol_error', `A text message where ${title} is spoken.`));
  });
  // Azure's C client breaks the connection when it is pinged; the transport's own keepalive does the work.
  const connection = webSocketDuplex(webSocket, {
    pingMs: 0,
    clock: deps.clock,
    readBufferBytes: READ_BUFFER_BYTES,
    // A control channel has no half-close: the client's Close is answered at once.
    allowHalfOpen: false,
  });
  return connection;
}
