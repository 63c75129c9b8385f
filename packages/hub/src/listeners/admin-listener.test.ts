import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { createAdminListener } from './admin-listener.ts';

const closers: (() => unknown)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

async function open(text: () => Promise<string>): Promise<() => Socket> {
  const server = createAdminListener({
    readiness: () => Promise.resolve(undefined),
    metrics: { contentType: 'text/plain', text },
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return () => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => undefined);
    closers.push(() => socket.destroy());
    return socket;
  };
}

async function ask(socket: Socket, path: string): Promise<string> {
  socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
  const [said] = (await once(socket, 'data')) as [Buffer];
  return said.toString();
}

it('makes room for a probe where connections say nothing, or nothing more', async () => {
  const dial = await open(() => Promise.resolve(''));
  const first = dial();
  expect(await ask(first, '/livez')).toContain('ok');
  const gone = once(first, 'close');
  const silent = Array.from({ length: 63 }, dial);
  await Promise.all(silent.map((socket) => once(socket, 'connect')));
  const last = dial();
  expect(await ask(last, '/livez')).toContain('ok');
  // A connection counts as idle from its last response on, so an older silent one may be closed before the first connection.
  await Promise.race([gone, once(silent[0] as Socket, 'close')]);
  expect(await ask(last, '/readyz')).toContain('ok');
});

it('closes no connection with a request under way', async () => {
  let answer: (text: string) => void = () => undefined;
  const dial = await open(
    () =>
      new Promise((resolve) => {
        answer = resolve;
      }),
  );
  const scraper = dial();
  const scraped = ask(scraper, '/metrics');
  const later = Array.from({ length: 100 }, dial);
  await Promise.all(later.map((socket) => once(socket, 'connect')));
  expect(await ask(dial(), '/livez')).toContain('ok');
  answer('culvert 1\n');
  expect(await scraped).toContain('culvert 1');
});
