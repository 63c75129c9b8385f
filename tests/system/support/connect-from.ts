import { connect as connectTcp } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';

/** Opens a TLS connection to 127.0.0.1 from another loopback address, so that it looks like another client. */
export function connectFrom(localAddress: string, port: number, options: ConnectionOptions): TLSSocket {
  const socket = connectTcp({ host: '127.0.0.1', port, localAddress });
  socket.on('error', () => undefined);
  return connectTls({ host: '127.0.0.1', ...options, socket });
}
