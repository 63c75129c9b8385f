import { createServer, type Server, type Socket } from 'node:net';
import { CulvertError, formatHostPort } from '@culvert/protocol';
import { stateKeepAlive } from '@culvert/stream';

/**
 * Starts a TCP listener whose connections may be half-open. A connection is read only when its stream is open; until then the kernel and one buffer
 * hold the data that the program sends.
 * @throws CulvertError `internal`, with a clear message, if the address cannot be bound
 */
export function listen(host: string, port: number, onConnection: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      stateKeepAlive(socket, 'local');
      onConnection(socket);
    });
    const refused = (error: NodeJS.ErrnoException): void => {
      reject(
        new CulvertError('internal', `cannot listen on ${formatHostPort(host, port)}: ${why(error)}`, { cause: error }),
      );
    };
    server.once('error', refused);
    server.listen({ host, port }, () => {
      server.off('error', refused);
      resolve(server);
    });
  });
}

function why(error: NodeJS.ErrnoException): string {
  if (error.code === 'EADDRINUSE') return 'the port is already in use; choose another';
  if (error.code === 'EACCES') return 'ports below 1024 need more rights; choose a higher one';
  if (error.code === 'EADDRNOTAVAIL') return 'this machine does not have that address';
  return error.code ?? error.message;
}
