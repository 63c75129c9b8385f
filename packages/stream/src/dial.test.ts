import { getEventListeners, once } from 'node:events';
import { createServer as createTcpServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { CulvertError, STREAM_SUBPROTOCOL } from '@culvert/protocol';
import {
  FakeClock,
  FaultProxy,
  type TestCertificate,
  type TlsWebSocketServer,
  testCertificate,
  tlsWebSocketServer,
} from '@culvert/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import { dialDuplex, dialStream, dialStreamWebSocket, dialWebSocket } from './dial.ts';

let certificate: TestCertificate;
let server: TlsWebSocketServer;
let onSocket: (socket: WebSocket) => void = (socket) => socket.close(1000);
let answer = '';
let seen: Record<string, string | string[] | undefined> = {};
let dripped: Duplex | undefined;

beforeAll(async () => {
  certificate = await testCertificate();
  server = await tlsWebSocketServer({
    certificate,
    onSocket: (socket, request) => {
      seen = request.headers;
      onSocket(socket);
    },
    onUpgrade: (_request, socket) => {
      if (answer === '') return false;
      if (answer === 'never') dripped = socket;
      else socket.end(`HTTP/1.1 ${answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      return true;
    },
  });
});
afterAll(() => server.close());

const direct = (): { ca: string; proxy: false } => ({ ca: certificate.ca, proxy: false });

describe('dialing', () => {
  it('keeps messages sent at once for a WebSocket that is handed over later', async () => {
    onSocket = (socket) => {
      socket.send('first');
      socket.close(1000);
    };
    for (let round = 0; round < 30; round++) {
      const socket = await dialWebSocket(server.url, { outbound: direct() });
      await new Promise((resolve) => setTimeout(resolve, 5));
      const message = once(socket, 'message');
      socket.resume();
      expect((await message)[0].toString()).toBe('first');
      await once(socket, 'close');
    }
  });

  it('bears the grant in the header alone, our subprotocol, and no compression', async () => {
    onSocket = (socket) => socket.close(1000);
    const grant = { url: `${server.url}/bridges/0123456789abcdef0123456789abcdef/device`, token: 'a.b.c' };
    const stream = await dialStream(grant, { outbound: direct() });
    await buffer(stream);
    stream.end();
    expect(seen).toMatchObject({ authorization: 'Bearer a.b.c', 'sec-websocket-protocol': STREAM_SUBPROTOCOL });
    expect(seen).not.toHaveProperty('sec-websocket-extensions');
    const socket = await dialStreamWebSocket(grant, { outbound: direct() });
    expect(socket.isPaused).toBe(true);
    expect(socket.protocol).toBe(STREAM_SUBPROTOCOL);
    socket.resume();
    await once(socket, 'close');
  });

  it.each([
    ['401 Unauthorized', 'unauthorized', 'grant_invalid'],
    ['403 Forbidden', 'forbidden', 'forbidden'],
    ['404 Not Found', 'route_not_found', 'route_not_found'],
    ['429 Too Many Requests', 'too_many_requests', 'too_many_requests'],
    ['503 Service Unavailable', 'draining', 'draining'],
    ['200 OK', 'unreachable', 'unreachable'],
    ['302 Found', 'unreachable', 'unreachable'],
  ])('an answer of %s is %s', async (status, code, codeOfStream) => {
    answer = status;
    try {
      await expect(dialWebSocket(server.url, { outbound: direct() })).rejects.toMatchObject({ code });
      await expect(dialDuplex(server.url, { outbound: direct() })).rejects.toMatchObject({ code });
      const failed = dialStream({ url: server.url, token: 'secret-token' }, { outbound: direct() });
      const error: unknown = await failed.catch((reason) => reason);
      expect(error).toMatchObject({ code: codeOfStream });
      expect(String(error)).not.toContain('secret-token');
    } finally {
      answer = '';
    }
  });

  it('says what to do about a certificate it cannot trust', async () => {
    const failed = dialDuplex(server.url, { outbound: { proxy: false } });
    await expect(failed).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringMatching(
        /^The certificate of 127\.0\.0\.1:\d+ comes from an authority .*: pass the hub's CA/,
      ),
    });
    const foreign = await testCertificate();
    await expect(dialDuplex(server.url, { outbound: { ca: foreign.ca, proxy: false } })).rejects.toMatchObject({
      code: 'untrusted',
    });
  });

  it('wants the name it dialled, or the one it was told', async () => {
    const named = await testCertificate({ names: ['hub.example'], addresses: [] });
    const other = await tlsWebSocketServer({ certificate: named, onSocket: (socket) => socket.close(1000) });
    const outbound = { ca: named.ca, proxy: false } as const;
    await expect(dialDuplex(other.url, { outbound })).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining('is for another name'),
    });
    const stream = await dialDuplex(other.url, { outbound: { ...outbound, servername: 'hub.example' } });
    await buffer(stream);
    stream.end();
    await other.close();
  });

  it('tells an expired certificate', async () => {
    const hour = 3_600_000;
    const expired = await testCertificate({
      notBefore: new Date(Date.now() - 3 * hour),
      notAfter: new Date(Date.now() - hour),
    });
    const other = await tlsWebSocketServer({ certificate: expired, onSocket: () => {} });
    await expect(dialDuplex(other.url, { outbound: { ca: expired.ca, proxy: false } })).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining('has expired'),
    });
    await other.close();
  });

  it('names host, port and cause of what cannot be reached', async () => {
    const closed = createTcpServer();
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
    const address = closed.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await new Promise((resolve) => closed.close(resolve));
    await expect(dialWebSocket(`wss://127.0.0.1:${port}`, { outbound: { proxy: false } })).rejects.toMatchObject({
      code: 'unreachable',
      message: `127.0.0.1:${port} could not be reached: nothing listens there (ECONNREFUSED).`,
    });
  });

  it('refuses an address that is not wss', async () => {
    await expect(dialWebSocket('ws://127.0.0.1:1')).rejects.toMatchObject({ code: 'argument_invalid' });
    await expect(dialWebSocket('nonsense')).rejects.toMatchObject({ code: 'argument_invalid' });
  });

  it('refuses a CA that is none', async () => {
    for (const ca of ['nonsense', '-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n'])
      await expect(dialWebSocket(server.url, { outbound: { ca, proxy: false } })).rejects.toMatchObject({
        code: 'config_invalid',
      });
  });
});

describe('giving up', () => {
  it('does so before the start', async () => {
    const signal = AbortSignal.abort(new CulvertError('withdrawn'));
    await expect(dialDuplex(server.url, { outbound: direct(), signal })).rejects.toMatchObject({ code: 'withdrawn' });
  });

  it.each([['dialWebSocket', dialWebSocket] as const, ['dialDuplex', dialDuplex] as const])(
    'does so on the way: %s',
    async (_name, dial) => {
      answer = 'never';
      dripped = undefined;
      try {
        const controller = new AbortController();
        const failed = dial(server.url, { outbound: direct(), signal: controller.signal }).catch(
          (error: unknown) => error,
        );
        while (dripped === undefined) await new Promise((resolve) => setImmediate(resolve));
        const held: Duplex = dripped;
        const gone = new Promise((resolve) =>
          held
            .on('close', resolve)
            .on('error', () => {})
            .resume(),
        );
        controller.abort(new CulvertError('withdrawn'));
        expect(await failed).toMatchObject({ code: 'withdrawn' });
        await gone;
        expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
      } finally {
        answer = '';
      }
    },
  );

  it('has no effect afterwards', async () => {
    onSocket = (socket) => setTimeout(() => socket.close(1000), 20);
    const controller = new AbortController();
    const stream = await dialDuplex(server.url, { outbound: direct(), signal: controller.signal });
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    controller.abort();
    await buffer(stream);
    stream.end();
  });

  it('comes by itself after ten seconds without an answer', async () => {
    const hole = await FaultProxy.start(server);
    hole.blackHole();
    const clock = new FakeClock();
    const failed = dialDuplex(`wss://127.0.0.1:${hole.port}`, { outbound: direct(), clock }).catch(
      (error: unknown) => error,
    );
    while (hole.accepted === 0) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(10_000);
    expect(await failed).toMatchObject({
      code: 'unreachable',
      message: `127.0.0.1:${hole.port} did not answer within 10 s.`,
    });
    expect(clock.timers).toBe(0);
    await hole.close();
  });
});
