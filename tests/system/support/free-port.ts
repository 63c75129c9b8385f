import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { Cleanup } from './cleanup.ts';
import { eventually } from './eventually.ts';

/** Returns a TCP port that was free a moment ago, for programs that cannot report the port they chose. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Waits until a program accepts connections on the port. */
export async function listening(port: number, timeoutMs = 30_000): Promise<void> {
  await eventually(
    `a listener on port ${port}`,
    async () => {
      const socket = connect(port, '127.0.0.1');
      try {
        await once(socket, 'connect');
        return true;
      } finally {
        socket.destroy();
      }
    },
    timeoutMs,
  );
}

/** Listens on a free loopback port until the end of the test, and returns the port. Connections that are still open then are destroyed. */
export async function listenLocally(cleanup: Cleanup, server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanup.defer(server, () => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}
