import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { parseServiceConnectionString, signSasToken } from '@culvert/protocol';
import { systemClock } from '@culvert/stream';
import { startHub, type TestHub, testCertificate } from '@culvert/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHttpsListener, type HttpsListenerOptions } from './https-listener.ts';
import { UnauthenticatedConnections } from './unauthenticated-connections.ts';

let test: TestHub;

beforeAll(async () => {
  test = await startHub({ config: { mqttListen: '127.0.0.1:0', amqpListen: '127.0.0.1:0' } });
});
afterAll(() => test.stop());

async function open(options: { port?: number; ALPNProtocols?: string[] } = {}): Promise<TLSSocket> {
  const socket = connectTls({ host: '127.0.0.1', port: test.port, ca: test.ca, ...options });
  await once(socket, 'secureConnect');
  return socket;
}

/** The hub's response to `text`, up to the point where the hub closes the connection. */
async function exchange(text: string): Promise<string> {
  const socket = await open();
  let said = '';
  socket.setEncoding('utf8').on('data', (piece: string) => {
    said += piece;
  });
  socket.write(text);
  await once(socket, 'close');
  return said;
}

const statuses = (said: string) => [...said.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]));

async function authorization(): Promise<string> {
  const { key, policy } = parseServiceConnectionString(test.ownerConnectionString);
  const expiry = Math.floor(Date.now() / 1000) + 600;
  return signSasToken({ audience: '127.0.0.1', key, policy, expiry });
}

describe('the one port', () => {
  it('takes a REST request that offers an upgrade as one that does not (RFC 9110 §7.8)', async () => {
    const said = await exchange('GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: h2c\r\n\r\n');
    expect(statuses(said)).toEqual([200]);
    expect(said).toContain('streamingEndpoints');
  });

  it('answers in order what was asked before such a request', async () => {
    const first = `GET /statistics/devices HTTP/1.1\r\nhost: x\r\nauthorization: ${await authorization()}\r\n\r\n`;
    const second = 'GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n';
    expect(statuses(await exchange(first + second))).toEqual([200, 404]);
  });

  it.each([
    ['a head that is too long', `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(17_000)}\r\n\r\n`, 431],
    ['no HTTP', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    [
      'two lengths of a body',
      'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
  ])('refuses %s', async (_what, text, status) => {
    expect(statuses(await exchange(text))).toEqual([status]);
  });

  it.each([
    ['without a host', 'GET / HTTP/1.1\r\n\r\n', [400]],
    ['that expect what nobody does', 'GET / HTTP/1.1\r\nhost: x\r\nexpect: z\r\n\r\n', [200, 200, 200, 200]],
  ])('answers requests %s in their turn, and no more of them than of others', async (_what, request, expected) => {
    expect(statuses(await exchange(request.repeat(500)))).toEqual(expected);
  });

  it.each([
    ['an absolute address', 'GET https://x/statistics/devices HTTP/1.1\r\nhost: x\r\n'],
    ['HTTP/1.0', 'GET /statistics/devices HTTP/1.0\r\n'],
  ])('takes %s', async (_what, head) => {
    const said = await exchange(`${head}connection: close\r\nauthorization: ${await authorization()}\r\n\r\n`);
    expect(statuses(said)).toEqual([200]);
  });

  it('tells of a peer that speaks no TLS, and not of one that says nothing', async () => {
    const refused = () => test.events.filter(({ type }) => type === 'connection-refused');
    const before = refused().length;
    for (const said of ['', 'GET / HTTP/1.0\r\n\r\n']) {
      const socket = connect({ host: '127.0.0.1', port: test.port });
      socket.on('error', () => undefined).resume();
      socket.end(said);
      await once(socket, 'close');
    }
    await test.event('connection-refused', () => refused().length > before);
    expect(refused().slice(before)).toMatchObject([{ listener: 'tls', remoteAddress: '127.0.0.1' }]);
  });

  it('takes a token of one device at an absolute address', async () => {
    await test.createDevice('narrow');
    const { key, policy } = parseServiceConnectionString(test.ownerConnectionString);
    const expiry = Math.floor(Date.now() / 1000) + 600;
    const narrow = await signSasToken({ audience: '127.0.0.1/devices/narrow', key, policy, expiry });
    const head = 'GET https://x/devices/narrow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n';
    expect(statuses(await exchange(`${head}authorization: ${narrow}\r\n\r\n`))).toEqual([200]);
  });
});

describe('a connection on which nothing moves', () => {
  async function listener(over: Partial<HttpsListenerOptions>): Promise<{ connect(): TLSSocket; close(): void }> {
    const pair = await testCertificate();
    const never = () => Promise.resolve(false);
    const server = createHttpsListener({
      pair,
      unauthenticated: new UnauthenticatedConnections({
        clock: systemClock,
        authenticateMs: 60_000,
        maxPerAddress: 8,
        maxTotal: 8,
      }),
      clock: systemClock,
      authenticateMs: 10_000,
      idleMs: 50,
      onRequest: (_request, response) => response.end(Buffer.alloc(16 * 1024 * 1024)),
      onControl: never,
      onGateway: never,
      onTlsError: () => undefined,
      ...over,
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const connect = () => connectTls({ host: '127.0.0.1', port, ca: pair.ca, servername: 'localhost' });
    return { connect, close: () => server.close() };
  }

  it('is ended when its peer does not take the answer', async () => {
    const gone = new Promise((resolve) => {
      void listener({
        onRequest: (request, response) => {
          response.end(Buffer.alloc(16 * 1024 * 1024));
          request.socket.once('close', resolve);
        },
      }).then(({ connect, close }) => {
        const socket = connect().on('error', () => undefined);
        // Without a `data` listener the client reads nothing.
        socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
        void gone.then(() => {
          socket.destroy();
          close();
        });
      });
    });
    await gone;
  });

  it('may be a control channel, which minds its own time', async () => {
    const idleMs = await new Promise<number | undefined>((resolve) => {
      void listener({
        onControl: (_request, upgraded) => {
          resolve(upgraded.timeout);
          upgraded.destroy();
          return Promise.resolve(true);
        },
      }).then(({ connect, close }) => {
        const socket = connect().on('error', () => undefined);
        socket.on('close', close);
        socket.write('GET /$iothub/websocket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n');
      });
    });
    expect(idleMs).toBe(0);
  });
});

describe('the MQTT port', () => {
  it.each([[undefined], [['mqtt']], [['x-amzn-mqtt-ca']]])(
    'takes clients that offer ALPN %j',
    async (ALPNProtocols) => {
      const port = test.hub.mqttAddress?.port ?? 0;
      const socket = await open(ALPNProtocols === undefined ? { port } : { port, ALPNProtocols });
      expect(socket.alpnProtocol).toBe(ALPNProtocols?.[0] ?? false);
      socket.destroy();
    },
  );
});

describe('the AMQP port', () => {
  it.each([[undefined], [['amqp']], [['whatever']]])('takes clients that offer ALPN %j', async (ALPNProtocols) => {
    const port = test.hub.amqpAddress?.port ?? 0;
    const socket = await open(ALPNProtocols === undefined ? { port } : { port, ALPNProtocols });
    expect(socket.alpnProtocol).toBe(false);
    socket.destroy();
  });
});
