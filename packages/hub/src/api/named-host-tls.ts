import type { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Server as TlsServer } from 'node:tls';
import { destroyConnection } from '@culvert/stream';
import { readServerName } from './client-hello.ts';

/** Another TLS for clients that want to reach a host of these names. */
export interface NamedHostTls {
  /** Lower case. */
  readonly names: ReadonlySet<string>;
  /** Does not listen itself. */
  readonly server: TlsServer;
}

/**
 * Gives the clients of a door that name one of the hosts another TLS, and lets the door go on with what is inside, so that its HTTP and all
 * its bounds are the same for everybody. To be called before anything else listens to the door's connections.
 *
 * A TLS server starts TLS when its event `connection` comes, which may be emitted for it (Node's documentation of the event): here it comes
 * once the name is known.
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
 * Tells once, and with all bytes back in the socket, which host a client wants to reach; undefined when it does not say, or no TLS at all.
 * Says nothing of a socket that ends before. For how long it may be silent is the caller's to bound.
 */
function peekServerName(socket: Socket, tell: (name: string | undefined) => void): void {
  const chunks: Buffer[] = [];
  let held = 0;
  let atLeast = 0;
  const onEnd = () => destroyConnection(socket);
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
