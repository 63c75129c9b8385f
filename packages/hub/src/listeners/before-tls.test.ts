import { EventEmitter, once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Server } from 'node:https';
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer, type Socket } from 'node:net';
import { type ConnectionOptions, connect, type SecureVersion, type TLSSocket } from 'node:tls';
import { peerAddress } from '@culvert/protocol';
import { systemClock } from '@culvert/stream';
import {
  type DeviceCertificate,
  deviceCertificate,
  duplexPair,
  FakeClock,
  inRecords,
  type TestCertificate,
  testCertificate,
} from '@culvert/testkit';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ProxySources } from '../config/proxy-sources.ts';
import { secureContext } from '../tls/secure-context.ts';
import { HandshakeBudget } from './handshake-budget.ts';
import { createCertificateTls, createHttpsListener, type HttpsListenerOptions } from './https-listener.ts';
import { UnauthenticatedConnections } from './unauthenticated-connections.ts';

const NAMES = ['main.example', 'devices.example'];

let pair: TestCertificate;
let device: DeviceCertificate;
beforeAll(async () => {
  pair = await testCertificate({ names: NAMES });
  device = await deviceCertificate('d1');
});

interface ListenerName {
  readonly server: Server;
  readonly port: number;
  readonly unauthenticated: UnauthenticatedConnections;
  readonly tlsErrors: string[];
  /** Presents another certificate from now on. */
  present(pair: TestCertificate): void;
}

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A main listener that requests a certificate at devices.example, and responds with the common name of the client's certificate. */
async function open(over: Partial<HttpsListenerOptions> = {}): Promise<ListenerName> {
  const tlsErrors: string[] = [];
  const clock = over.clock ?? systemClock;
  const unauthenticated =
    over.unauthenticated ?? new UnauthenticatedConnections({ clock, maxPerAddress: 64, maxTotal: 64 });
  const never = () => Promise.resolve(false);
  const options = { pair, authenticateMs: over.authenticateMs ?? 10_000 };
  const named = createCertificateTls(options);
  const server = createHttpsListener({
    ...options,
    namedHosts: { names: new Set(['devices.example']), server: named },
    unauthenticated,
    clock,
    idleMs: 60_000,
    onRequest: (request, response) => {
      unauthenticated.authenticated(request.socket);
      response.end(String((request.socket as TLSSocket).getPeerCertificate().subject?.CN));
    },
    onControl: never,
    onGateway: never,
    onTlsError: ({ message }) => tlsErrors.push(message),
    ...over,
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(async () => {
    server.close();
    server.closeAllConnections();
    unauthenticated.destroyAll();
  });
  const present = (newer: TestCertificate) => {
    server.setSecureContext(secureContext(newer, false));
    named.setSecureContext(secureContext(newer, true));
  };
  return { server, port: (server.address() as AddressInfo).port, unauthenticated, tlsErrors, present };
}

/** A client that has a certificate and presents it when one is requested. */
function dial({ port }: ListenerName, options: ConnectionOptions = {}): TLSSocket {
  const { cert, key } = device;
  const socket = connect({
    ...{ host: '127.0.0.1', port, ca: pair.ca, cert, key, checkServerIdentity: () => undefined },
    ...options,
  });
  closers.push(() => socket.destroy());
  return socket;
}

/** The body of a listener's response to one request. */
async function ask(socket: TLSSocket): Promise<string> {
  socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  let said = '';
  socket.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await once(socket, 'close');
  return said.split('\r\n\r\n')[1] ?? said;
}

/** Resolves when a client's connection has closed, with or without an error. */
const ended = (socket: Socket) => new Promise((resolve) => socket.on('error', () => undefined).once('close', resolve));

const isVersion = (maxVersion: SecureVersion) => ({ maxVersion });

describe('a host of the main port at which a certificate is asked for', () => {
  it.each<[string, ConnectionOptions, string]>([
    ['that host', { servername: 'devices.example' }, 'd1'],
    ['that host, in other letters', { servername: 'Devices.EXAMPLE' }, 'd1'],
    ['that host, without a certificate', { servername: 'devices.example', cert: '', key: '' }, 'undefined'],
    ['another one', { servername: 'main.example' }, 'undefined'],
    ['none', {}, 'undefined'],
  ])('clients that name %s', async (_what, options, shown) => {
    const listener = await open();
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      expect(await ask(dial(listener, { ...options, ...isVersion(version) }))).toBe(shown);
    }
    expect(listener.tlsErrors).toEqual([]);
  });

  it.each<[string, (hello: Buffer) => Buffer[]]>([
    ['byte by byte', (hello) => [...hello].map((byte) => Buffer.from([byte]))],
    ['in several records', (hello) => [inRecords(hello, 100)]],
    [
      'in several records, and each byte by byte',
      (hello) => [...inRecords(hello, 200)].map((byte) => Buffer.from([byte])),
    ],
  ])('is found in what comes %s', async (_what, cut) => {
    const listener = await open();
    const port = await chopped(listener, cut);
    for (const [servername, shown] of [
      ['devices.example', 'd1'],
      ['main.example', 'undefined'],
    ] as const) {
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
        expect(await ask(dial(listener, { servername, ...isVersion(version), port }))).toBe(shown);
    }
  });

  it('shows the newest certificate, and asks for one all the same', async () => {
    const listener = await open();
    const newer = await testCertificate({ names: NAMES });
    listener.present(newer);
    for (const [servername, shown] of [
      ['devices.example', 'd1'],
      ['main.example', 'undefined'],
    ] as const) {
      expect(await ask(dial(listener, { servername, ca: newer.ca }))).toBe(shown);
      const distrust = once(dial(listener, { servername }), 'secureConnect');
      await expect(distrust).rejects.toThrow(/certificate/);
    }
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('takes up no session again over %s, while others may', async (version) => {
    const listener = await open();
    for (const [servername, reused] of [
      ['devices.example', false],
      ['main.example', true],
    ] as const) {
      const first = dial(listener, { servername, ...isVersion(version) });
      let session: Buffer | undefined;
      first.on('session', (ticket: Buffer) => {
        session = ticket;
      });
      await ask(first);
      session ??= first.getSession();
      const second = dial(listener, { servername, ...isVersion(version), ...(session && { session }) });
      await once(second, 'secureConnect');
      expect([servername, second.isSessionReused()]).toEqual([servername, reused]);
      // Where the session is not resumed, the certificate is requested again.
      expect(await ask(second)).toBe(reused ? 'undefined' : 'd1');
    }
  });

  it('does not let a certificate be exchanged for another', async () => {
    const listener = await open();
    const socket = dial(listener, { servername: 'devices.example', ...isVersion('TLSv1.2') });
    await once(socket, 'secureConnect');
    const refused = await new Promise<Error | null>((resolve) => {
      socket.on('error', resolve);
      socket.renegotiate({}, resolve);
    });
    expect(String(refused)).toMatch(/renegotiation/i);
  });
});

const silent = async (listener: ListenerName, bytes: Buffer): Promise<Socket> => {
  const socket = connectTcp(listener.port, '127.0.0.1').on('error', () => undefined);
  closers.push(() => socket.destroy());
  await once(socket, 'connect');
  socket.write(bytes);
  socket.resume();
  return socket;
};
const admitted = (listener: ListenerName) => once(listener.server, 'connection');

describe('before it is known which host is wanted', () => {
  it('what is no TLS is told once, and ended', async () => {
    const listener = await open();
    const socket = await silent(listener, Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    await once(socket, 'close');
    expect(listener.tlsErrors).toHaveLength(1);
    expect(listener.unauthenticated.size).toBe(0);
  });

  it('a connection counts once, and ends with its time', async () => {
    const clock = new FakeClock();
    const listener = await open({ clock });
    const connected = admitted(listener);
    const socket = await silent(listener, Buffer.from([22, 3]));
    await connected;
    expect([listener.unauthenticated.size, clock.timers]).toEqual([1, 1]);
    await clock.advance(5_000);
    await once(socket, 'close');
    expect([listener.unauthenticated.size, clock.timers]).toEqual([0, 0]);
    const named = dial(listener, { servername: 'devices.example' });
    await once(named, 'secureConnect');
    expect([listener.unauthenticated.size, clock.timers]).toEqual([1, 1]);
    expect(await ask(named)).toBe('d1');
    expect([listener.unauthenticated.size, clock.timers]).toEqual([0, 0]);
  });

  it('a client may go', async () => {
    const listener = await open();
    const connected = admitted(listener);
    const socket = await silent(listener, Buffer.from([22, 3, 1, 2, 0, 1]));
    const [accepted] = (await connected) as [Socket];
    socket.end();
    await once(accepted, 'close');
    expect([listener.unauthenticated.size, listener.tlsErrors]).toEqual([0, []]);
  });
});

describe('a listener behind a load balancer', () => {
  const HEADER = 'PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n';
  const seen = (request: IncomingMessage) => `${peerAddress(request.socket)} ${request.socket.remotePort}`;
  const behind = async (over: Partial<HttpsListenerOptions> = {}) => {
    const listener: ListenerName = await open({
      proxies: new ProxySources(['127.0.0.1']),
      onRequest: (request, response) => {
        listener.unauthenticated.authenticated(request.socket);
        response.end(seen(request));
      },
      ...over,
    });
    return listener;
  };
  /** Starts TLS on a connection after `header` has been sent. */
  const dialBehind = async (
    listener: ListenerName,
    header: string | Buffer,
    options: ConnectionOptions = {},
  ): Promise<TLSSocket> => {
    const socket = connectTcp({ port: listener.port, host: '127.0.0.1' });
    closers.push(() => socket.destroy());
    await once(socket, 'connect');
    socket.write(header);
    return dial(listener, { socket, servername: 'main.example', ...options });
  };
  /** The message with which the listener refuses a connection that sends `said`. */
  const refusal = async (listener: ListenerName, said: Buffer | string): Promise<string> => {
    const socket = connectTcp({ port: listener.port, host: '127.0.0.1' });
    closers.push(() => socket.destroy());
    // The connection is reset when the listener has not read all bytes sent.
    const gone = ended(socket);
    socket.resume().write(said);
    await gone;
    expect(listener.unauthenticated.size).toBe(0);
    return listener.tlsErrors.join();
  };

  it.each(['main.example', 'devices.example'])(
    'knows its clients by their own addresses, at %s',
    async (servername) => {
      const listener = await behind();
      expect(await ask(await dialBehind(listener, HEADER, { servername }))).toBe('192.0.2.7 4711');
      expect(listener.tlsErrors).toEqual([]);
    },
  );

  it('knows the balancer by its own, where it speaks for itself', async () => {
    const listener = await behind();
    const local = Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex');
    expect(await ask(await dialBehind(listener, local))).toMatch(/^127\.0\.0\.1 \d+$/);
  });

  it('believes no header of HTTP', async () => {
    const listener = await behind();
    const socket = await dialBehind(listener, HEADER);
    socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-forwarded-for: 203.0.113.1\r\n\r\n');
    let said = '';
    for await (const piece of socket) said += String(piece);
    expect(said).toContain('192.0.2.7 4711');
  });

  it.each<[string, Buffer | string, RegExp]>([
    ['HTTP', 'GET / HTTP/1.1\r\n\r\n', /did not begin with a PROXY header/],
    ['TLS', Buffer.from([22, 3, 1, 0, 5]), /did not begin with a PROXY header/],
    ['a header of another kind', 'PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n', /malformed/],
  ])('closes what begins with %s', async (_what, said, problem) => {
    expect(await refusal(await behind(), said)).toMatch(problem);
  });

  it('closes what comes from elsewhere, header or not', async () => {
    expect(await refusal(await behind({ proxies: new ProxySources(['192.0.2.0/24']) }), HEADER)).toMatch(
      /Only the load balancers of proxyProtocolFrom/,
    );
  });

  it('gives what comes from elsewhere no place', async () => {
    const unauthenticated = new UnauthenticatedConnections({ clock: systemClock, maxPerAddress: 1, maxTotal: 1 });
    const occupant = Object.assign(new EventEmitter(), { destroy: () => {} });
    expect(unauthenticated.admit(occupant, '192.0.2.1')).toBe(true);
    const proxies = new ProxySources(['192.0.2.0/24']);
    const listener = await behind({ proxies, unauthenticated });
    const socket = connectTcp({ port: listener.port, host: '127.0.0.1' });
    closers.push(() => socket.destroy());
    await ended(socket.resume());
    expect(listener.tlsErrors).toHaveLength(1);
    expect([unauthenticated.has(occupant), unauthenticated.evicted]).toEqual([true, 0]);
  });

  it('closes where nobody expects one', async () => {
    const listener = await open();
    expect(await refusal(listener, HEADER)).not.toBe('');
  });

  it('gives a header as long as the first message of TLS', async () => {
    const clock = new FakeClock();
    const listener = await behind({ clock });
    const connected = admitted(listener);
    const socket = await silent(listener, Buffer.from('PROXY TCP4 '));
    await connected;
    await clock.advance(5_000);
    await once(socket, 'close');
    expect([listener.unauthenticated.size, clock.timers]).toEqual([0, 0]);
  });

  it('counts connections by whom they are from', async () => {
    const unauthenticated = new UnauthenticatedConnections({ clock: systemClock, maxPerAddress: 1, maxTotal: 64 });
    const listener = await behind({ unauthenticated });
    const heads = [HEADER, HEADER.replace('.7', '.8'), HEADER];
    const sockets: Socket[] = [];
    for (const head of heads) {
      const socket = await silent(listener, Buffer.from(head));
      sockets.push(socket);
      const expected = sockets.length;
      while (unauthenticated.size + unauthenticated.evicted < expected)
        await new Promise((resolve) => setImmediate(resolve));
      if (expected === 3) await once(sockets[0] as Socket, 'close');
    }
    expect([unauthenticated.size, unauthenticated.evicted]).toEqual([2, 1]);
    unauthenticated.destroyAll();
  });
});

describe('where a certificate is asked for', () => {
  it('a first flight of more than 16 KiB is refused before it is read', async () => {
    const listener = await open();
    const chain = `${device.cert}${device.cert.repeat(60)}`;
    const socket = dial(listener, { servername: 'devices.example', cert: chain });
    await ended(socket);
    expect(listener.tlsErrors).toEqual(['A handshake of more than 16384 bytes.']);
    expect(await ask(dial(listener, { servername: 'devices.example' }))).toBe('d1');
  });

  it('a ClientHello of more than 16 KiB is refused at every host', async () => {
    const listener = await open();
    const socket = await silent(listener, Buffer.from([22, 3, 1, 0x3f, 0xff, 1, 0, 0x80, 0]));
    socket.write(Buffer.alloc(16_384));
    await once(socket, 'close');
    expect(listener.tlsErrors).toEqual(['A ClientHello of more than 16384 bytes.']);
  });

  it('an address that has used up its time is refused, there alone', async () => {
    const budget = new HandshakeBudget();
    const listener = await open({ budget, clock: new FakeClock() });
    const first = dial(listener, { servername: 'devices.example' });
    expect(await ask(first)).toBe('d1');
    // The first handshake has been charged to the address.
    expect(budget.size).toBe(1);
    budget.charge('127.0.0.1', 500, 0);
    await ended(dial(listener, { servername: 'devices.example' }));
    expect(listener.tlsErrors).toEqual([expect.stringMatching(/have used up their processor time/)]);
    expect(await ask(dial(listener, { servername: 'main.example' }))).toBe('undefined');
  });

  it('many handshakes that began at once do not all go on', async () => {
    const budget = new HandshakeBudget();
    const listener = await open({ budget, clock: new FakeClock() });
    const { port } = listener;
    let begun = false;
    const between = connectTcp({ port, host: '127.0.0.1' });
    closers.push(() => between.destroy());
    // The client's second message is sent to the hub only after the address has used up its time.
    const [near, far] = duplexPair();
    far.on('error', () => undefined);
    near.on('error', () => undefined);
    far.on('data', (chunk: Buffer) => {
      if (begun) budget.charge('127.0.0.1', 500, 0);
      begun = true;
      between.write(chunk);
    });
    between.on('data', (chunk: Buffer) => far.write(chunk));
    const lost = ended(between);
    const client = dial(listener, { servername: 'devices.example', socket: near });
    client.on('error', () => undefined);
    await lost;
    expect(listener.tlsErrors).toEqual([expect.stringMatching(/have used up their processor time/)]);
  });

  it.each(NAMES)('data goes both ways in any amount, at %s', async (servername) => {
    const body = Buffer.alloc(3_000_000, 'x');
    const listener: ListenerName = await open({
      onRequest: (request, response) => {
        listener.unauthenticated.authenticated(request.socket);
        let length = 0;
        request.on('data', (chunk: Buffer) => {
          length += chunk.length;
        });
        request.on('end', () => response.end(Buffer.concat([Buffer.from(`${length} `), body])));
      },
    });
    const socket = dial(listener, { servername });
    socket.write(`POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n`);
    socket.write(body);
    let length = 0;
    for await (const piece of socket) length += (piece as Buffer).length;
    expect(length).toBeGreaterThan(body.length);
  });
});

describe('the HTTP of such a host', () => {
  it('has the bounds of all others', async () => {
    const listener = await open({ authenticateMs: 50 });
    const socket = dial(listener, { servername: 'devices.example' });
    // The client may get a reset, when its own end reaches a connection that the listener has already closed.
    const gone = ended(socket);
    socket.write('GET / HTTP/1.1\r\n');
    const [said] = (await once(socket, 'data')) as [Buffer];
    expect(said.toString()).toMatch(/^HTTP\/1\.1 408 /);
    await gone;
  });

  it('ends with the listener', async () => {
    const listener = await open();
    const idle = dial(listener, { servername: 'devices.example' });
    idle.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(idle, 'data');
    const gone = once(idle.resume(), 'close');
    const closed = new Promise((resolve) => listener.server.close(resolve));
    await Promise.all([gone, closed]);
  });
});

/** Starts a relay to a listener that splits the client's first chunk with `cut` and sends each piece separately; resolves to the relay's port. */
async function chopped({ port }: ListenerName, cut: (hello: Buffer) => Buffer[]): Promise<number> {
  const server = createTcpServer({ noDelay: true }, (near) => {
    const far = connectTcp({ port, host: '127.0.0.1', noDelay: true });
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const)
      socket.on('error', () => other.destroy()).on('close', () => other.destroy());
    far.pipe(near);
    near.once('data', (hello: Buffer) => {
      near.pause();
      const pieces = cut(hello);
      const next = () => {
        const piece = pieces.shift();
        if (piece === undefined) near.pipe(far);
        else far.write(piece, () => setImmediate(next));
      };
      next();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close());
  return (server.address() as AddressInfo).port;
}
