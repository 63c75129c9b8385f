import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { AMQP_SUBPROTOCOLS, CulvertError, peerAddress } from '@culvert/protocol';
import type { ClientCertificate } from '../auth/client-certificate.ts';
import { acceptAmqp } from './accept-amqp.ts';
import { AMQP_LIMITS } from './amqp-gate/amqp-limits.ts';
import type { ControlDeps, ControlOrigin } from './control-channel.ts';
import { acceptWebSocket } from './control-web-socket.ts';

/**
 * Opens a control channel on an upgrade request, echoing the subprotocol as it was offered. AMQP frames may span messages and share them.
 * Resolves as {@link acceptAmqp} does, false also when the upgrade was refused; never rejects.
 */
export function acceptAmqpWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  deps: ControlDeps,
  certificate?: ClientCertificate,
): Promise<boolean> {
  const origin: ControlOrigin = { remoteAddress: peerAddress(request.socket), protocol: 'amqp-ws', certificate };
  const dialect = {
    name: 'AMQP',
    subprotocols: AMQP_SUBPROTOCOLS,
    maxMessageBytes: deps.limits.maxPacketBytes,
    speak: async (connection: Duplex) => {
      const release = boundUnproven(socket, head.length, connection);
      const proven = await acceptAmqp(connection, origin, deps);
      release();
      return proven;
    },
  };
  return acceptWebSocket({ request, socket, head }, dialect, origin, deps);
}

/**
 * Bounds what a peer sends before it has proved who it is where it comes in: a WebSocket message is held until it is whole, and none of it is seen
 * before. Returns how to end that.
 */
function boundUnproven(socket: Duplex, already: number, connection: Duplex): () => void {
  let bytes = already;
  const onData = (chunk: Buffer): void => {
    bytes += chunk.length;
    if (bytes <= AMQP_LIMITS.unprovenBytes) return;
    const detail = `More than ${AMQP_LIMITS.unprovenBytes} bytes before the device proved who it is.`;
    connection.destroy(new CulvertError('too_large', detail));
  };
  socket.on('data', onData);
  return () => socket.off('data', onData);
}
