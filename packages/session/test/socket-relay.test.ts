import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, it } from 'vitest';
import type { SessionConnection } from '../src/core/connection.ts';
import { type RelayEnd, SocketRelay } from '../src/socket-relay.ts';

it('does not reset a connection whose socket has ended both ways while its last bytes still wait for the link', async () => {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const program = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
  const [socket] = (await once(server, 'connection')) as [Socket];
  const done: string[] = [];
  const waiting = {
    write: () => true,
    end: () => done.push('end'),
    abort: () => done.push('abort'),
    consumed: () => undefined,
  } as unknown as SessionConnection;
  const ends: RelayEnd[] = [];
  const relay = new SocketRelay(socket, (end) => ends.push(end));
  relay.start(waiting);
  program.resume().end('last bytes');
  relay.ended();
  await once(socket, 'close');
  expect([done, ends]).toEqual([['end'], []]);
  relay.finished();
  expect(done).toEqual(['end']);
  expect(ends).toMatchObject([{ bytesSent: 10, reason: undefined }]);
  server.close();
});
