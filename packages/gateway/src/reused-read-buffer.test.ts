import { once } from 'node:events';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Duplex } from 'node:stream';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import { type TestCertificate, testCertificate } from '@culvert/testkit';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { reuseReadBuffer } from './reused-read-buffer.ts';

const INPUT = Buffer.alloc(16_384);
let certificate: TestCertificate;
let server: Server;
const open: TLSSocket[] = [];

beforeAll(async () => {
  certificate = await testCertificate();
  server = createServer({ cert: certificate.cert, key: certificate.key }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(() => {
  for (const socket of open.splice(0)) socket.destroy();
});
afterAll(() => {
  server.close();
});

async function pair() {
  const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>;
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, host: '127.0.0.1', ca: certificate.ca, servername: 'localhost' });
  await once(client, 'secureConnect');
  const [socket] = await accepted;
  open.push(client, socket);
  return { client, socket };
}

/** Reads a socket into {@link INPUT} and gathers what comes, by whichever way. */
function gather(socket: TLSSocket) {
  const state = { text: '', events: 0, calls: 0, ended: false, stops: false };
  let wake = (): void => undefined;
  socket.on('data', (chunk: Buffer) => {
    state.text += chunk.toString('latin1');
    state.events++;
    wake();
  });
  socket.on('end', () => {
    state.ended = true;
    wake();
  });
  const taken = reuseReadBuffer(socket, INPUT, (length) => {
    state.text += INPUT.toString('latin1', 0, length);
    state.calls++;
    wake();
    return !state.stops;
  });
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { state, taken, until };
}

test('an accepted TLS socket is read into the buffer, without events, to its end', async () => {
  const { client, socket } = await pair();
  const { state, taken, until } = gather(socket);
  expect(taken).toBe(true);
  const sent = Array.from({ length: 40_000 }, (_, i) => `${i};`).join('');
  client.end(sent);
  await until(() => state.ended);
  expect(state.text === sent).toBe(true);
  expect(state.events).toBe(0);
  expect(state.calls).toBeGreaterThan(1);
});

test('so is a socket that HTTP has upgraded, which is what the gateway gets', async () => {
  const https = createHttpsServer({ cert: certificate.cert, key: certificate.key }).listen(0, '127.0.0.1');
  await once(https, 'listening');
  const upgraded = once(https, 'upgrade') as Promise<[unknown, TLSSocket]>;
  const { port } = https.address() as AddressInfo;
  const client = connect({ port, host: '127.0.0.1', ca: certificate.ca, servername: 'localhost' });
  client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  const [, socket] = await upgraded;
  open.push(client, socket);
  const { state, taken, until } = gather(socket);
  client.write('after');
  await until(() => state.text.length === 5);
  expect([taken, state.text, state.events]).toEqual([true, 'after', 0]);
  https.close();
});

test('what had been read before comes first, and by an event', async () => {
  const { client, socket } = await pair();
  client.write('first, ');
  await once(socket, 'readable');
  const { state, until } = gather(socket);
  client.write('second');
  await until(() => state.text.length === 13);
  expect(state.text).toBe('first, second');
  expect([state.events, state.calls]).toEqual([1, 1]);
});

test('it pauses and resumes, and keeps the order when something unread is left', async () => {
  const { client, socket } = await pair();
  const { state, until } = gather(socket);
  client.write('a');
  await until(() => state.text === 'a');
  socket.pause();
  socket.unshift(Buffer.from('b'));
  client.write('c');
  // The client's own echo tells that the server's side has been processed.
  socket.write('pong');
  await once(client, 'data');
  expect(state.text).toBe('a');
  socket.resume();
  await until(() => state.text.length === 3);
  expect(state.text).toBe('abc');
  client.destroy();
  await once(socket, 'close');
});

test('what receives can stop the reading, for as long as it is not resumed', async () => {
  const { client, socket } = await pair();
  const { state, until } = gather(socket);
  state.stops = true;
  client.write('a');
  await until(() => state.text === 'a');
  client.write('b');
  socket.write('pong');
  await once(client, 'data');
  expect([state.text, socket.isPaused()]).toEqual(['a', false]);
  socket.resume();
  await until(() => state.text === 'ab');
});

test('sockets that share the buffer do not mix', async () => {
  const pairs: Awaited<ReturnType<typeof pair>>[] = [];
  for (let i = 0; i < 8; i++) pairs.push(await pair());
  const readers = pairs.map(({ socket }) => gather(socket));
  const texts = pairs.map((_, i) => String(i).repeat(100_000));
  pairs.forEach(({ client }, i) => {
    client.end(texts[i] ?? '');
  });
  await Promise.all(readers.map(({ state, until }) => until(() => state.ended)));
  for (const [i, { state }] of readers.entries()) expect(state.text === texts[i]).toBe(true);
});

test('a duplex that is no socket, or is closed, is left as it was', async () => {
  expect(reuseReadBuffer(new Duplex(), INPUT, () => true)).toBe(false);
  const { client, socket } = await pair();
  client.destroy();
  socket.resume();
  await once(socket, 'close');
  expect(reuseReadBuffer(socket, INPUT, () => true)).toBe(false);
});
