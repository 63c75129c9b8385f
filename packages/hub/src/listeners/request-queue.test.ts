import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { RequestQueue } from './request-queue.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Served {
  readonly port: number;
  /** Paths of the requests passed to `handle`, in order. */
  readonly asked: string[];
  /** Number of requests that Node's HTTP has parsed. */
  parsed: number;
  /** The bytes that followed each upgrade request. */
  readonly heads: string[];
}

type Handle = (request: IncomingMessage, response: ServerResponse) => void;

async function serve(handle: Handle, mayStay = false): Promise<Served> {
  const asked: string[] = [];
  const heads: string[] = [];
  const requests = new RequestQueue({
    handle(request, response) {
      asked.push(request.url ?? '');
      handle(request, response);
    },
    mayStay: () => mayStay,
  });
  const server = createServer();
  const served: Served = { port: 0, asked, heads, parsed: 0 };
  server.on('connection', (socket) => requests.watch(socket));
  server.on('request', (request, response) => {
    served.parsed++;
    requests.take(request, response);
  });
  server.on('upgrade', (_request, socket: Socket, head) => {
    const all = requests.upgrade(socket, head);
    if (all === undefined) return;
    heads.push(all.toString());
    socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\nupgraded');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return Object.assign(served, { port: (server.address() as AddressInfo).port });
}

const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nhost: x\r\n${more}\r\n`;

/** Sends `text`; resolves to the bytes received until the server has closed the connection, or until there are `enough` responses. */
async function ask(port: number, text: string, enough = Number.POSITIVE_INFINITY): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  closers.push(() => socket.destroy());
  let said = '';
  socket.setEncoding('latin1');
  socket.on('error', () => undefined);
  const done = new Promise<void>((resolve) => {
    socket.on('data', (piece: string) => {
      said += piece;
      if (said.split('HTTP/1.1 ').length > enough) resolve();
    });
    socket.on('close', () => resolve());
  });
  socket.write(text);
  await done;
  return said;
}

const bodies = (said: string) => said.split(/HTTP\/1\.1 \d+ /).length - 1;

describe('requests of one connection', () => {
  it('are served one after the other, in order', async () => {
    const underWay: ServerResponse[] = [];
    let most = 0;
    const served = await serve((request, response) => {
      most = Math.max(most, underWay.push(response));
      setImmediate(() => {
        underWay.shift();
        response.end(request.url);
      });
    }, true);
    const paths = Array.from({ length: 200 }, (_, index) => `/${index}`);
    const said = await ask(served.port, paths.map((path) => get(path)).join(''), paths.length);
    expect(served.asked).toEqual(paths);
    expect([most, bodies(said)]).toEqual([1, 200]);
  });

  it('are not even parsed before the one ahead is answered', async () => {
    const held: ServerResponse[] = [];
    const served = await serve((_request, response) => held.push(response), true);
    const socket = connect(served.port, '127.0.0.1');
    closers.push(() => socket.destroy());
    // The server stops reading, so it never receives all of this.
    socket.write(get('/').repeat(100_000));
    while (held.length === 0) await new Promise((resolve) => setImmediate(resolve));
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(served.asked).toEqual(['/']);
    expect(served.parsed).toBeLessThanOrEqual(256 / get('/').length + 1);
  });

  it('get four answers before they have authenticated, the last with word of it', async () => {
    const served = await serve((_request, response) => response.end('x'));
    const said = await ask(served.port, get('/').repeat(3_000));
    expect([bodies(said), served.asked.length]).toEqual([4, 4]);
    expect(said.match(/connection: [a-z-]+/gi)?.map((header) => header.toLowerCase())).toEqual([
      ...Array(3).fill('connection: keep-alive'),
      'connection: close',
    ]);
  });

  it('have their bodies, that of the last answer too', async () => {
    const lengths: number[] = [];
    const served = await serve((request, response) => {
      let length = 0;
      request.on('data', (chunk: Buffer) => {
        length += chunk.length;
      });
      request.on('end', () => {
        lengths.push(length);
        response.end('x');
      });
    });
    const post = `POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 50000\r\n\r\n${'y'.repeat(50_000)}`;
    expect(bodies(await ask(served.port, post.repeat(5)))).toBe(4);
    expect(lengths).toEqual([50_000, 50_000, 50_000, 50_000]);
  });

  it('are noticed to be gone while one is under way', async () => {
    let client: Socket | undefined;
    const gone = new Promise((resolve) => {
      void serve((request) => {
        request.socket.once('close', resolve);
        client?.destroy();
      }).then(({ port }) => {
        client = connect(port, '127.0.0.1');
        client.write(get('/'));
      });
    });
    await gone;
  });

  it('end where they are no HTTP', async () => {
    const served = await serve((_request, response) => response.end('x'), true);
    // Resolves when the server has closed the connection.
    const said = await ask(served.port, `${get('/')}\x00\x01${get('/')}`);
    expect(bodies(said)).toBeLessThanOrEqual(1);
    expect(served.asked).toEqual(['/']);
  });
});

describe('an upgrade', () => {
  const upgrade = get('/up', 'connection: upgrade\r\nupgrade: x\r\n');

  it('has all that followed it, however long', async () => {
    const served = await serve(() => undefined);
    const early = 'early'.repeat(1_000);
    expect(await ask(served.port, upgrade + early)).toContain('upgraded');
    expect(early.startsWith(served.heads[0] ?? '-')).toBe(true);
    expect(served.heads[0]?.length).toBeGreaterThan(256);
  });

  it('may follow an answer, and is refused before it', async () => {
    const served = await serve((request, response) => {
      if (request.url !== '/never') response.end('x');
    });
    expect(await ask(served.port, get('/') + upgrade)).not.toContain('x\r\nx');
    expect(await ask(served.port, get('/never') + upgrade)).toBe('');
    const socket = connect(served.port, '127.0.0.1');
    closers.push(() => socket.destroy());
    socket.write(get('/'));
    await once(socket, 'data');
    socket.write(upgrade);
    let said = '';
    for await (const piece of socket) said += String(piece);
    expect(said).toContain('upgraded');
  });
});
