import type { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Server as TlsServer } from 'node:tls';
import { readServerName } from './client-hello.ts';

/** Separate TLS settings for clients that request one of these server names. */
export interface NamedHostTls {
  /** Lower case. */
  readonly names: ReadonlySet<string>;
  /** Does not listen itself. */
  readonly server: TlsServer;
}

/**
 * Uses other TLS settings for clients that request one of the hosts; the listener then handles the decrypted connection as usual, so that its HTTP and all
 * its limits are the same for all. Must be called before anything else listens to the listener's connections.
 *
 * A TLS server starts TLS on its event `connection`, which may be emitted by other code (Node's documentation of the event): here it is emitted
 * once the server name is known.
 */
export function leadByHostName(door: HttpsServer, { names, server }: NamedHostTls): void {
  const startTls = door.listeners('connection');
  door.removeAllListeners('connection');
  door.on('connection', (socket: Socket) => {
    peekServerName(socket, (name) => {
      if (name !== undefined && names.has(name)) server.emit('connection', socket);
      else for (const start of startTls) start.call(door, socket);
    });
  });
  server.on('secureConnection', (socket) => door.emit('secureConnection', socket));
  server.on('tlsClientError', (error, socket) => door.emit('tlsClientError', error, socket));
}

/**
 * Reports once, with all bytes put back into the socket, the server name a client requests; undefined when there is none, or this is not TLS.
 * Reports nothing for a socket that closes before. The caller must limit how long that may take.
 */
function peekServerName(socket: Socket, tell: (name: string | undefined) => void): void {
  const chunks: Buffer[] = [];
  let held = 0;
  let atLeast = 0;
  const onEnd = () => socket.destroy();
  const onData = (chunk: Buffer) => {
    chunks.push(chunk);
    held += chunk.length;
    if (held < atLeast) return;
    const bytes = Buffer.concat(chunks);
    const reading = readServerName(bytes);
    if ('atLeast' in reading) {
      atLeast = reading.atLeast;
      return;
    }
    socket.off('data', onData);
    socket.off('end', onEnd);
    socket.pause();
    socket.unshift(bytes);
    tell(reading.name);
  };
  socket.on('data', onData);
  socket.on('end', onEnd);
}
