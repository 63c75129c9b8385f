import { once } from 'node:events';
import { createServer as createHttpServer, type Server } from 'node:http';
import * as https from 'node:https';
import { connect, createServer, isIP, type Server as NetServer, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { type TestCertificate, type TlsWebSocketServer, testCertificate, tlsWebSocketServer } from '@culvert/testkit';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { dialDuplex } from './dial.ts';
import { type OutboundOptions, outboundAgent, proxyFor } from './outbound.ts';

let certificate: TestCertificate;
let hub: TlsWebSocketServer;
const closing: (() => void)[] = [];

beforeAll(async () => {
  certificate = await testCertificate();
  hub = await tlsWebSocketServer({
    certificate,
    onSocket: (socket) => {
      socket.send('hello through the tunnel');
      socket.close(1000);
    },
    onUpgrade: () => false,
  });
});
afterAll(async () => {
  for (const close of closing) close();
  await hub.close();
});

async function listen(server: NetServer | Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

function join(client: Duplex, target: Socket): void {
  client.on('error', () => target.destroy());
  target.on('error', () => client.destroy());
  client.pipe(target).pipe(client);
}

interface TestProxy {
  readonly port: number;
  /** Target and credentials of every request to the proxy. */
  readonly asked: { target: string; credentials: string }[];
}

/** Starts an HTTP CONNECT proxy. A `status` other than 200 refuses; with 0 it never answers. It resolves every name to loopback. */
async function connectProxy(status = 200): Promise<TestProxy & { readonly left: Promise<void> }> {
  const asked: TestProxy['asked'] = [];
  let leave = (): void => {};
  const left = new Promise<void>((resolve) => {
    leave = resolve;
  });
  const server = createHttpServer();
  server.on('connect', (request, client: Duplex) => {
    const credentials = request.headers['proxy-authorization'] ?? '';
    asked.push({ target: request.url ?? '', credentials });
    closing.push(() => client.destroy());
    client.on('error', () => {});
    client.on('end', leave);
    if (status === 0) {
      client.resume();
      return;
    }
    if (status !== 200) {
      client.end(`HTTP/1.1 ${status} No\r\nContent-Length: 4\r\n\r\nnope`);
      return;
    }
    const target = connect(Number(request.url?.split(':').at(-1)), '127.0.0.1', () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      join(client, target);
    });
  });
  const port = await listen(server);
  closing.push(() => server.close());
  return { port, asked, left };
}

/** Starts a SOCKS 5 proxy (RFC 1928, 1929). It requires `user` and `pass` if given, and refuses every target if `refuse` is set. */
async function socksProxy(options: { user?: string; pass?: string; refuse?: boolean } = {}): Promise<TestProxy> {
  const asked: TestProxy['asked'] = [];
  const server = createServer((client) => {
    client.on('error', () => {});
    closing.push(() => client.destroy());
    serveSocks(client, options, asked).catch(() => client.destroy());
  });
  const port = await listen(server);
  closing.push(() => server.close());
  return { port, asked };
}

async function serveSocks(
  client: Socket,
  options: { user?: string; pass?: string; refuse?: boolean },
  asked: TestProxy['asked'],
): Promise<void> {
  const read = async (bytes: number): Promise<Buffer> => {
    for (;;) {
      const chunk: Buffer | null = client.read(bytes);
      if (chunk !== null) return chunk;
      await once(client, 'readable');
    }
  };
  const field = async (): Promise<string> => (await read((await read(1))[0] ?? 0)).toString();
  const [, methods = 0] = await read(2);
  await read(methods);
  let credentials = '';
  client.write(Buffer.from([5, options.user === undefined ? 0 : 2]));
  if (options.user !== undefined) {
    await read(1);
    credentials = `${await field()}:${await field()}`;
    const accepted = credentials === `${options.user}:${options.pass}`;
    client.write(Buffer.from([1, accepted ? 0 : 1]));
    if (!accepted) return;
  }
  const [, , , type] = await read(4);
  const host = type === 1 ? [...(await read(4))].join('.') : await field();
  const port = (await read(2)).readUInt16BE();
  asked.push({ target: `${host}:${port}`, credentials });
  client.write(Buffer.from([5, options.refuse ? 2 : 0, 0, 1, 0, 0, 0, 0, 0, 0]));
  if (!options.refuse) join(client, connect(port, '127.0.0.1'));
}

async function through(proxy: string, options: Partial<OutboundOptions> = {}, host = '127.0.0.1'): Promise<string> {
  const stream = await dialDuplex(`wss://${host}:${hub.port}`, { outbound: { ca: certificate.ca, proxy, ...options } });
  const received = (await buffer(stream)).toString();
  stream.end();
  return received;
}

describe('an HTTP proxy', () => {
  it.each(['127.0.0.1', 'localhost'])(
    'opens a tunnel to %s, inside which the hub is verified with the extra CA',
    async (host) => {
      const { port, asked } = await connectProxy();
      expect(await through(`http://127.0.0.1:${port}`, {}, host)).toBe('hello through the tunnel');
      expect(asked).toEqual([{ target: `${host}:${hub.port}`, credentials: '' }]);
    },
  );

  it('does not make an unknown authority trusted', async () => {
    const { port } = await connectProxy();
    const stream = dialDuplex(hub.url, { outbound: { proxy: `http://127.0.0.1:${port}` } });
    await expect(stream).rejects.toMatchObject({ code: 'untrusted' });
  });

  it('compares the certificate with the address of the hub, not with localhost', async () => {
    const named = await testCertificate({ names: ['localhost'], addresses: [] });
    const other = await tlsWebSocketServer({ certificate: named, onSocket: (socket) => socket.close(1000) });
    for (const proxy of [
      `http://127.0.0.1:${(await connectProxy()).port}`,
      `socks5://127.0.0.1:${(await socksProxy()).port}`,
    ]) {
      await expect(dialDuplex(other.url, { outbound: { ca: named.ca, proxy } })).rejects.toMatchObject({
        code: 'untrusted',
        message: expect.stringContaining('another name'),
      });
    }
    await other.close();
  });

  it('may itself be reached over TLS', async () => {
    const plain = await connectProxy();
    const { cert, key } = certificate;
    const front = (await import('node:tls')).createServer({ cert, key }, (client) =>
      join(client, connect(plain.port, '127.0.0.1')),
    );
    const port = await listen(front);
    closing.push(() => front.close());
    expect(await through(`https://localhost:${port}`)).toBe('hello through the tunnel');
    expect(plain.asked).toHaveLength(1);
  });

  it('gets the user name and password of its URL', async () => {
    const { port, asked } = await connectProxy();
    await through(`http://me:p%40ss@127.0.0.1:${port}`);
    expect(asked[0]?.credentials).toBe(`Basic ${Buffer.from('me:p@ss').toString('base64')}`);
  });

  it.each([
    [403, /^The proxy 127\.0\.0\.1:\d+ does not connect to 127\.0\.0\.1:\d+ \(HTTP 403\)\.$/],
    [
      407,
      /^The proxy 127\.0\.0\.1:\d+ asks for a user name and password, or does not accept the ones given \(HTTP 407\)\.$/,
    ],
    [502, /HTTP 502/],
  ])('that refuses with %i is told apart from the hub, without its password', async (status, message) => {
    const { port } = await connectProxy(status);
    const failed: unknown = await through(`http://me:secret@127.0.0.1:${port}`).catch((error) => error);
    expect(failed).toMatchObject({ code: 'unreachable', message: expect.stringMatching(message) });
    expect(inspect(failed, { depth: 9 })).not.toContain('secret');
  });

  it('that is not there is named', async () => {
    const { port } = await connectProxy();
    const nobody = createServer();
    const free = await listen(nobody);
    await new Promise((resolve) => nobody.close(resolve));
    expect(free).not.toBe(port);
    await expect(through(`http://127.0.0.1:${free}`)).rejects.toMatchObject({
      code: 'unreachable',
      message: `The proxy 127.0.0.1:${free} could not be reached: nothing listens there (ECONNREFUSED).`,
    });
  });

  it('that never answers can be given up, and is left', async () => {
    const { port, asked, left } = await connectProxy(0);
    const controller = new AbortController();
    const outbound = { ca: certificate.ca, proxy: `http://127.0.0.1:${port}` };
    const failed = dialDuplex(hub.url, { outbound, signal: controller.signal }).catch((error: unknown) => error);
    while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    expect(await failed).toMatchObject({ code: 'aborted' });
    await left;
  });
});

describe('a SOCKS proxy', () => {
  it.each([
    ['socks5', 'localhost', 'address'],
    ['socks5h', 'localhost', 'name'],
    ['socks5', '127.0.0.1', 'address'],
  ])('%s to %s gets the %s', async (scheme, host, what) => {
    const { port, asked } = await socksProxy();
    expect(await through(`${scheme}://127.0.0.1:${port}`, {}, host)).toBe('hello through the tunnel');
    const target = asked[0]?.target.replace(/:\d+$/, '') ?? '';
    expect(isIP(target) === 0 ? 'name' : 'address').toBe(what);
  });

  it('takes a user name and password', async () => {
    const { port, asked } = await socksProxy({ user: 'me', pass: 'p@ss' });
    expect(await through(`socks5h://me:p%40ss@127.0.0.1:${port}`)).toBe('hello through the tunnel');
    expect(asked[0]?.credentials).toBe('me:p@ss');
  });

  it('that refuses, the target or the password, is told without the password', async () => {
    const refusing = await socksProxy({ refuse: true });
    const strict = await socksProxy({ user: 'me', pass: 'other' });
    for (const { port } of [refusing, strict]) {
      const failed: unknown = await through(`socks5h://me:secret@127.0.0.1:${port}`).catch((error) => error);
      expect(failed).toMatchObject({
        code: 'unreachable',
        message: expect.stringContaining(`The proxy 127.0.0.1:${port}`),
      });
      expect(inspect(failed, { depth: 9 })).not.toContain('secret');
    }
  });

  it('that never answers is left after ten seconds', async () => {
    const silent = createServer();
    closing.push(() => silent.close());
    const proxy = `socks5h://127.0.0.1:${await listen(silent)}`;
    const asked = once(silent, 'connection');
    const agent = await outboundAgent(new URL('https://hub.example'), { proxy });
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const request = https.get('https://hub.example', { agent });
      const failed = once(request, 'error');
      const [client]: Socket[] = await asked;
      client?.resume();
      await vi.advanceTimersByTimeAsync(10_001);
      expect(await failed).toMatchObject([{ code: 'unreachable', message: expect.stringContaining('timed out') }]);
      if (client?.readableEnded === false) await once(client, 'end');
    } finally {
      vi.useRealTimers();
    }
  });

  it('may be idle for long after it has opened the tunnel', async () => {
    const { port } = await socksProxy();
    const agent = await outboundAgent(new URL(hub.url), { proxy: `socks5h://127.0.0.1:${port}`, ca: certificate.ca });
    // Socket timeouts cannot be faked, so this checks that no socket is left with the opening timeout.
    const limits = vi.spyOn(Socket.prototype, 'setTimeout');
    const request = https.get({ host: new URL(hub.url).hostname, port: new URL(hub.url).port, agent });
    request.on('error', () => {});
    const [socket]: Socket[] = await once(request, 'socket');
    if (socket !== undefined) await once(socket, 'secureConnect');
    const last = new Map(limits.mock.contexts.map((on, index) => [on, limits.mock.calls[index]?.[0]]));
    limits.mockRestore();
    expect([...last.values()]).not.toContain(10_000);
    request.destroy();
    agent.destroy();
  });

  it('does not make an unknown authority trusted', async () => {
    const { port } = await socksProxy();
    const stream = dialDuplex(hub.url, { outbound: { proxy: `socks5h://127.0.0.1:${port}` } });
    await expect(stream).rejects.toMatchObject({ code: 'untrusted' });
  });
});

describe('an agent for HTTPS requests', () => {
  const web = async (): Promise<string> => {
    const { cert, key } = certificate;
    const server = https.createServer({ cert, key }, (request, response) =>
      response.end(`you asked for ${request.url}`),
    );
    const port = await listen(server);
    closing.push(() => server.close());
    return `https://127.0.0.1:${port}`;
  };

  it.each(['none', 'http', 'socks5h'])('serves several requests on one connection (proxy: %s)', async (kind) => {
    const url = new URL(await web());
    const proxy = kind === 'none' ? undefined : kind === 'http' ? await connectProxy() : await socksProxy();
    const agent = await outboundAgent(url, {
      ca: certificate.ca,
      proxy: proxy === undefined ? false : `${kind}://127.0.0.1:${proxy.port}`,
    });
    const ports = new Set<number | undefined>();
    for (const path of ['/one', '/two', '/three']) {
      const body = await new Promise<string>((resolve, reject) => {
        const request = https.get(new URL(path, url), { agent }, (response) => {
          ports.add(response.socket.localPort);
          text(response).then(resolve, reject);
        });
        request.on('error', reject);
      });
      expect(body).toBe(`you asked for ${path}`);
    }
    expect(ports.size).toBe(1);
    if (proxy !== undefined) expect(proxy.asked).toHaveLength(1);
    agent.destroy();
  });

  it('does not pass the refusal of the proxy off as an answer of the hub', async () => {
    const { port } = await connectProxy(403);
    const agent = await outboundAgent(new URL(hub.url), { proxy: `http://127.0.0.1:${port}` });
    const answered = new Promise((resolve, reject) => {
      https.get(`https://127.0.0.1:${hub.port}/`, { agent }, resolve).on('error', reject);
    });
    await expect(answered).rejects.toMatchObject({ code: 'unreachable' });
    agent.destroy();
  });
});

describe('which proxy applies', () => {
  const url = new URL('wss://hub.example:8443');
  const env: NodeJS.ProcessEnv = {};
  beforeEach(() => {
    for (const name of Object.keys(env)) delete env[name];
  });

  it('is none without a word about one', () => {
    expect(proxyFor(url, undefined, env)).toBeUndefined();
    env['HTTPS_PROXY'] = '';
    expect(proxyFor(url, undefined, env)).toBeUndefined();
  });

  it('is that of the environment, in this order', () => {
    for (const name of ['all_proxy', 'ALL_PROXY', 'https_proxy', 'HTTPS_PROXY']) {
      env[name] =
        `http://${name.toLowerCase().replace('_', '-')}-${name === name.toUpperCase() ? 'upper' : 'lower'}:3128`;
      expect(proxyFor(url, undefined, env)?.href).toBe(`${env[name]}/`);
    }
    env['HTTP_PROXY'] = 'http://not-for-tls:3128';
    expect(proxyFor(url, undefined, env)?.hostname).toBe('https-proxy-upper');
  });

  it('is none for what NO_PROXY names; loopback is not named by itself', () => {
    env['https_proxy'] = 'proxy.example:3128';
    expect(proxyFor(new URL('wss://127.0.0.1'), undefined, env)?.href).toBe('http://proxy.example:3128/');
    env['no_proxy'] = 'hub.example';
    expect(proxyFor(url, undefined, env)).toBeUndefined();
    env['NO_PROXY'] = 'else.example';
    expect(proxyFor(url, undefined, env)?.hostname).toBe('proxy.example');
  });

  it('is the one that was given, or none, whatever the environment says', () => {
    env['HTTPS_PROXY'] = 'http://env.example:3128';
    env['NO_PROXY'] = '*';
    expect(proxyFor(url, 'socks5h://given.example', env)?.hostname).toBe('given.example');
    expect(proxyFor(url, false, env)).toBeUndefined();
  });

  it.each(['http://', 'ftp://me:secret@proxy', 'http://me:secret@:80', 'http://me:secret@proxy:99999'])(
    'is refused when it is none, without its password: %s',
    (proxy) => {
      let failed: unknown;
      try {
        proxyFor(url, proxy, env);
      } catch (error) {
        failed = error;
      }
      expect(failed).toMatchObject({ code: 'config_invalid' });
      expect(inspect(failed)).not.toContain('secret');
    },
  );
});
