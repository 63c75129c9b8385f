import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { eventually } from './eventually.ts';

/** A TCP port that was free a moment ago, for programs that cannot be asked which port they took. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Waits until something accepts connections there. */
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
