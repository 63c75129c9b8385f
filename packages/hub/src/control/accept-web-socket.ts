import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { peerAddress } from '@culvert/protocol';
import type { ControlDeps, TlsIdentity } from './control-channel.ts';
import { CONTROL_TRANSPORTS } from './control-transports.ts';
import { acceptWebSocket, offeredSubprotocols } from './control-web-socket.ts';

/**
 * Opens a control channel on an upgrade request, with the transport of the first known subprotocol that the client offers. If the client offers no
 * known subprotocol, the request is refused with 400. Resolves true once the client has authenticated, false if the request was refused or the
 * connection ended before. Never rejects.
 */
export function acceptControlWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  deps: ControlDeps,
  tls: TlsIdentity = {},
): Promise<boolean> {
  const [fallback] = CONTROL_TRANSPORTS;
  const transport =
    offeredSubprotocols(request)
      .map((name) => CONTROL_TRANSPORTS.find(({ subprotocols }) => subprotocols.includes(name)))
      .find((known) => known !== undefined) ?? fallback;
  const remoteAddress = peerAddress(request.socket);
  const origin = { remoteAddress, protocol: `${transport.name}-ws` as const, ...tls };
  return acceptWebSocket({ request, socket, head }, transport, origin, deps);
}
