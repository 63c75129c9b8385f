import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { AMQP_SUBPROTOCOLS, peerAddress } from '@culvert/protocol';
import type { ClientCertificate } from '../../auth/client-certificate.ts';
import { AMQP_LIMITS } from '../amqp-validator/amqp-limits.ts';
import type { ControlDeps, ControlOrigin } from '../control-channel.ts';
import { acceptWebSocket } from '../control-web-socket.ts';
import { acceptAmqp } from './accept-amqp.ts';

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
    // A message is held until it is whole, a stranger's too. Clients put one frame into each.
    maxMessageBytes: AMQP_LIMITS.frameBytes,
    speak: (connection: Duplex) => acceptAmqp(connection, origin, deps),
  };
  return acceptWebSocket({ request, socket, head }, dialect, origin, deps);
}
