import type { TLSSocket } from 'node:tls';
import { ConnectProxy, testCertificate, tlsWebSocketServer } from '@culvert/testkit';
import { afterEach, expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { dialWebSocket } from './dial.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function server(names?: { names: string[] }) {
  const certificate = await testCertificate(names);
  const resumed: boolean[] = [];
  const sockets: WebSocket[] = [];
  const started = await tlsWebSocketServer({
    certificate,
    onSocket: (socket, request) => {
      resumed.push((request.socket as TLSSocket).isSessionReused());
      sockets.push(socket);
      socket.send('hello');
    },
  });
  closers.push(() => started.close());
  return { ...started, ca: certificate.ca, resumed };
}

/** Opens a WebSocket, waits for its first message, which arrives after the TLS session ticket, and closes it. */
async function visit(url: string, outbound: Parameters<typeof dialWebSocket>[1] = {}): Promise<void> {
  const socket = await dialWebSocket(url, outbound);
  await new Promise((resolve) => {
    socket.once('message', resolve);
    socket.resume();
  });
  socket.terminate();
}

test('the second connection to a server resumes the first one’s TLS session, each dial with an agent of its own', async () => {
  const { url, ca, resumed } = await server();
  for (let i = 0; i < 3; i++) await visit(url, { outbound: { ca } });
  expect(resumed).toEqual([false, true, true]);
});

test('through a proxy too', async () => {
  const { url, ca, resumed } = await server();
  const proxy = await ConnectProxy.start();
  closers.push(() => proxy.stop());
  for (let i = 0; i < 2; i++) await visit(url, { outbound: { ca, proxy: proxy.url } });
  expect(resumed).toEqual([false, true]);
});

test('a session is not resumed by who trusts other authorities, nor under another name', async () => {
  const { url, ca, resumed } = await server({ names: ['localhost', 'other.example'] });
  await visit(url, { outbound: { ca } });
  const { ca: another } = await testCertificate();
  await expect(visit(url, { outbound: { ca: another } })).rejects.toMatchObject({ code: 'untrusted' });
  await visit(url, { outbound: { ca: `${ca}\n${another}` } });
  await visit(url, { outbound: { ca, servername: 'other.example' } });
  expect(resumed).toEqual([false, false, false]);
  await expect(visit(url, { outbound: { ca, servername: 'third.example' } })).rejects.toMatchObject({
    code: 'untrusted',
  });
});
