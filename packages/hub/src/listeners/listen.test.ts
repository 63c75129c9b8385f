import { createServer } from 'node:net';
import { expect, it } from 'vitest';
import { closeServer, listen } from './listen.ts';

it('a listener that cannot accept for want of file descriptors goes on listening', async () => {
  const server = createServer();
  await listen(server, { host: '127.0.0.1', port: 0 }, 'listen');
  server.emit('error', Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' }));
  expect(server.listening).toBe(true);
  await closeServer(server);
});
