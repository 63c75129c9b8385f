import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { CulvertError } from '@culvert/protocol';
import { duplexPair as connectedPair, FakeClock, testCertificate, tlsWebSocketServer } from '@culvert/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { dialDuplex } from './dial.ts';
import { splice } from './splice.ts';
import { webSocketDuplex } from './websocket-duplex.ts';

const cleanUp: (() => void)[] = [];
afterEach(() => {
  for (const action of cleanUp.splice(0)) action();
});

/** Both ends of a TCP connection on loopback, created with `allowHalfOpen`. */
async function tcpPair(): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const accepted = once(server, 'connection');
  const client = connect({ port: address.port, host: '127.0.0.1', allowHalfOpen: true });
  const [other] = await accepted;
  server.close();
  for (const socket of [client, other]) cleanUp.push(() => socket.on('error', () => {}).destroy());
  return [client, other];
}

/** Two connected in-process ends. An error of an end that the test does not check does not fail the test. */
function duplexPair(): [Duplex, Duplex] {
  const pair = connectedPair();
  for (const end of pair) end.on('error', () => {});
  return pair;
}

/** Connects `left ⇄ [a = splice = b] ⇄ right` with in-process pairs. */
function chain(options?: Parameters<typeof splice>[2]): {
  left: Duplex;
  right: Duplex;
  a: Duplex;
  b: Duplex;
  done: ReturnType<typeof splice>;
} {
  const [left, a] = duplexPair();
  const [b, right] = duplexPair();
  const done = splice(a, b, options);
  done.catch(() => {});
  return { left, right, a, b, done };
}

function collect(stream: Duplex): Promise<{ bytes: number; hash: string }> {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256');
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      hash.update(chunk);
    });
    stream.on('end', () => resolve({ bytes, hash: hash.digest('hex') }));
    stream.on('error', reject);
  });
}

async function send(stream: Duplex, total: number): Promise<string> {
  const hash = createHash('sha256');
  const block = randomBytes(70_001);
  for (let left = total; left > 0; left -= block.length) {
    const piece = Buffer.from(block.subarray(0, Math.min(left, block.length)));
    hash.update(piece);
    if (!stream.write(piece)) await once(stream, 'drain');
  }
  stream.end();
  return hash.digest('hex');
}

describe('splice', () => {
  it('moves every byte both ways over real sockets and counts them', async () => {
    const [left, a] = await tcpPair();
    const [b, right] = await tcpPair();
    const done = splice(a, b);
    const [forth, back, atRight, atLeft] = await Promise.all([
      send(left, 40_000_000),
      send(right, 30_000_000),
      collect(right),
      collect(left),
    ]);
    expect(atRight).toEqual({ bytes: 40_000_000, hash: forth });
    expect(atLeft).toEqual({ bytes: 30_000_000, hash: back });
    expect(await done).toEqual({ bytesAToB: 40_000_000, bytesBToA: 30_000_000 });
  });

  it('passes a half-close on, and the answer after it', async () => {
    const [left, a] = await tcpPair();
    const [b, right] = await tcpPair();
    const done = splice(a, b);
    left.end('question');
    right.resume();
    await once(right, 'end');
    const answer = collect(left);
    right.end(Buffer.alloc(3_000_000));
    expect((await answer).bytes).toBe(3_000_000);
    expect(await done).toEqual({ bytesAToB: 8, bytesBToA: 3_000_000 });
  });

  it('relays a question and its late answer from TCP to TCP through WebSockets over TLS', async () => {
    const certificate = await testCertificate();
    const [target, atDevice] = await tcpPair();
    const [program, atService] = await tcpPair();
    let arrived: (stream: Duplex) => void = () => {};
    const arrival = new Promise<Duplex>((resolve) => {
      arrived = resolve;
    });
    const server = await tlsWebSocketServer({ certificate, onSocket: (socket) => arrived(webSocketDuplex(socket)) });
    cleanUp.push(() => server.close());
    const stream = await dialDuplex(server.url, { outbound: { ca: certificate.ca, proxy: false } });
    const service = splice(atService, stream);
    const device = splice(atDevice, await arrival);
    const question = send(program, 5_000_000);
    const asked = await collect(target);
    expect(asked).toEqual({ bytes: 5_000_000, hash: await question });
    const answer = send(target, 6_000_000);
    expect(await collect(program)).toEqual({ bytes: 6_000_000, hash: await answer });
    expect(await device).toEqual({ bytesAToB: 6_000_000, bytesBToA: 5_000_000 });
    expect(await service).toEqual({ bytesAToB: 5_000_000, bytesBToA: 6_000_000 });
  });

  it('delivers what a side said before it closed for good', async () => {
    const { left, right, a, done } = chain();
    right.write('ignored');
    a.allowHalfOpen = false;
    left.resume();
    left.end(Buffer.alloc(1_000_000));
    const got = await collect(right);
    expect(got.bytes).toBe(1_000_000);
    right.end();
    expect((await done).bytesAToB).toBe(1_000_000);
  });

  it('stops the sender while the receiver does not read', async () => {
    const { left, right, a, b, done } = chain();
    let written = 0;
    while (left.write(Buffer.alloc(16_384)) && written < 100) {
      written++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(written).toBeLessThan(100);
    expect(a.readableLength + b.writableLength + right.readableLength).toBeLessThan(400_000);
    left.end();
    expect((await collect(right)).bytes).toBe((written + 1) * 16_384);
    right.end();
    left.resume();
    await done;
  });

  it('destroys the other side at once with the error of the one that failed', async () => {
    const { a, b, done } = chain();
    a.destroy(new CulvertError('revoked'));
    await expect(done).rejects.toMatchObject({ code: 'revoked' });
    expect(b.errored).toBe(a.errored);
  });

  it('turns a foreign error into stream_lost, with its words and cause', async () => {
    const [left, a] = await tcpPair();
    const [b] = duplexPair();
    const done = splice(a, b);
    left.resetAndDestroy();
    await expect(done).rejects.toMatchObject({
      code: 'stream_lost',
      message: 'The connection was lost: read ECONNRESET.',
      cause: { code: 'ECONNRESET' },
    });
    expect(b.destroyed).toBe(true);
  });

  it('never takes a side that is destroyed without an error for one that ended', async () => {
    const { a, b, done } = chain();
    a.destroy();
    await expect(done).rejects.toMatchObject({ code: 'stream_lost' });
    expect(b.errored).toMatchObject({ code: 'stream_lost' });
  });

  it('rejects for a side that was destroyed before', async () => {
    const [, a] = duplexPair();
    const [b] = duplexPair();
    a.on('error', () => {}).destroy(new CulvertError('draining'));
    await expect(splice(a, b)).rejects.toMatchObject({ code: 'draining' });
    expect(b.destroyed).toBe(true);
  });

  it('takes a side whose end was read before', async () => {
    const [left, a] = duplexPair();
    left.end();
    a.resume();
    await once(a, 'end');
    const [b, right] = duplexPair();
    const done = splice(a, b);
    right.resume();
    await once(right, 'end');
    right.end('late');
    left.resume();
    expect(await done).toEqual({ bytesAToB: 0, bytesBToA: 4 });
  });

  it('is cancelled by its signal, before and after the start', async () => {
    const controller = new AbortController();
    const { a, b, done } = chain({ signal: controller.signal });
    controller.abort(new CulvertError('withdrawn'));
    await expect(done).rejects.toMatchObject({ code: 'withdrawn' });
    expect([a.destroyed, b.destroyed]).toEqual([true, true]);
    const late = chain({ signal: controller.signal });
    await expect(late.done).rejects.toMatchObject({ code: 'withdrawn' });
    expect([late.a.destroyed, late.b.destroyed]).toEqual([true, true]);
  });

  it('lets the other direction go on while bytes flow, and fails when none came for as long as it may', async () => {
    const clock = new FakeClock();
    const { left, right, a, b, done } = chain({ clock, halfCloseMs: 60_000 });
    right.resume();
    left.end();
    await once(right, 'end');
    for (let i = 0; i < 5; i++) {
      await clock.advance(59_999);
      right.write('x');
      await once(left, 'data');
    }
    await clock.advance(59_999);
    expect(a.destroyed).toBe(false);
    await clock.advance(1);
    await expect(done).rejects.toMatchObject({ code: 'half_close_timeout' });
    expect([a.destroyed, b.destroyed, clock.timers]).toEqual([true, true, 0]);
  });

  it('leaves no listener and no timer behind', async () => {
    const clock = new FakeClock();
    const { signal } = new AbortController();
    const { left, right, a, b, done } = chain({ clock, halfCloseMs: 60_000, signal });
    left.resume();
    right.resume();
    left.end('x');
    right.end('y');
    await done;
    expect(clock.timers).toBe(0);
    for (const side of [a, b]) {
      for (const event of ['data', 'drain', 'finish']) expect(side.listenerCount(event)).toBe(0);
    }
  });
});
