import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { CulvertError } from '@culvert/protocol';
import { webSocketDuplex } from '@culvert/stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { reportRefusal } from './channel-events.ts';
import type { ControlDeps, ControlOrigin } from './control-channel.ts';

/** Frames a message may come in: clients send one; each fragment held costs memory beside its bytes. */
const MAX_FRAGMENTS = 64;

/** Pieces in which the largest message may arrive: some 190 TCP segments, with room for odd networks. */
const MAX_BUFFERED_CHUNKS = 1_024;

/** Bytes held, beside one message, while a credential is verified and nothing is read: a stranger's. */
const READ_BUFFER_BYTES = 1_024;

/** A request to upgrade, as a server hands it over. */
export interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** A dialect of control channels over WebSocket. */
export interface WebSocketDialect {
  /** For people. */
  readonly name: string;
  readonly subprotocols: readonly string[];
  /** Bytes of a message. */
  readonly maxMessageBytes: number;
  /** Takes the connection in the turn in which it is made: a frame may have come with the request, and break it at once. */
  speak(connection: Duplex): Promise<boolean>;
}

/** The subprotocols a client offers, in its order. */
export function offeredSubprotocols(request: IncomingMessage): string[] {
  return request.headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? [];
}

/**
 * Opens a control channel on an upgrade request, echoing the first subprotocol offered that is one of the dialect's, as it was offered.
 * Messages must be binary; what is spoken in them may span and share them. Resolves as the dialect's `speak` does, false also when the upgrade was
 * refused; never rejects.
 */
export async function acceptWebSocket(
  upgrade: Upgrade,
  dialect: WebSocketDialect,
  origin: ControlOrigin,
  deps: ControlDeps,
): Promise<boolean> {
  try {
    return await open(upgrade, dialect, deps);
  } catch (reason) {
    reportRefusal(CulvertError.from(reason), origin, deps.onEvent);
    return false;
  }
}

/** @throws CulvertError `argument_invalid`, `device_gone` */
function open({ request, socket, head }: Upgrade, dialect: WebSocketDialect, deps: ControlDeps): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const refuse = (detail: string): void => {
      socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n', () => socket.destroy());
      reject(new CulvertError('argument_invalid', detail));
    };
    const onClose = (): void => reject(new CulvertError('device_gone'));
    socket.on('error', destroyIt);
    socket.once('close', onClose);
    const subprotocol = offeredSubprotocols(request).find((name) => dialect.subprotocols.includes(name));
    if (subprotocol === undefined) {
      refuse(`No WebSocket subprotocol of ${dialect.name} was offered.`);
      return;
    }
    const server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: dialect.maxMessageBytes,
      maxFragments: MAX_FRAGMENTS,
      maxBufferedChunks: MAX_BUFFERED_CHUNKS,
      handleProtocols: () => subprotocol,
    });
    server.on('wsClientError', (error) => refuse(error.message));
    server.handleUpgrade(request, socket, head, (webSocket) => {
      // A listener left behind would keep the request and its headers for as long as the device stays.
      socket.off('close', onClose);
      resolve(dialect.speak(binaryOnly(webSocket, dialect, deps)));
    });
  });
}

/** Nothing else is in reach of it: see the listener to 'close'. */
function destroyIt(this: Duplex): void {
  this.destroy();
}

function binaryOnly(webSocket: WebSocket, { name }: WebSocketDialect, deps: ControlDeps): Duplex {
  // Before the Duplex sees the message: MQTT 3.1.1 §6 and the WebSocket binding of AMQP §2.2 want the connection closed on a text frame.
  webSocket.on('message', (_data, isBinary) => {
    if (!isBinary) connection.destroy(new CulvertError('protocol_error', `A text message where ${name} is spoken.`));
  });
  // The preview's C client breaks the connection when it is pinged; the dialect's own keepalive does the work.
  const connection = webSocketDuplex(webSocket, {
    pingMs: 0,
    clock: deps.clock,
    readBufferBytes: READ_BUFFER_BYTES,
    // A control channel has no half-close: the client's Close is answered at once.
    allowHalfOpen: false,
  });
  return connection;
}
