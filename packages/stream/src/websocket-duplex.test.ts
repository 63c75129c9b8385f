import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { LIMITS } from '@culvert/protocol';
import { type TestCertificate, type TlsWebSocketServer, testCertificate, tlsWebSocketServer } from '@culvert/testkit';
import * as fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { dialDuplex } from './dial.ts';
import { webSocketDuplex } from './websocket-duplex.ts';

const MIB = 1_048_576;

let certificate: TestCertificate;
let server: TlsWebSocketServer;
let onSocket: (socket: WebSocket) => void = () => {};
const opened: Duplex[] = [];

beforeAll(async () => {
  certificate = await testCertificate();
  server = await tlsWebSocketServer({ certificate, onSocket: (socket) => onSocket(socket) });
});
afterEach(() => {
  for (const duplex of opened.splice(0)) duplex.on('error', () => {}).destroy();
});
afterAll(() => server.close());

async function dial(): Promise<Duplex> {
  const duplex = await dialDuplex(server.url, { outbound: { ca: certificate.ca, proxy: false } });
  opened.push(duplex);
  return duplex;
}

/** Both ends of a stream. */
async function connectedPair(): Promise<[client: Duplex, server: Duplex]> {
  const arrival = new Promise<Duplex>((resolve) => {
    onSocket = (socket) => {
      const duplex = webSocketDuplex(socket);
      opened.push(duplex);
      resolve(duplex);
    };
  });
  return [await dial(), await arrival];
}

/** A client's Duplex, and the messages that the raw WebSocket at the other end receives. */
async function observed(): Promise<[client: Duplex, messages: Buffer[], closed: Promise<unknown[]>]> {
  const messages: Buffer[] = [];
  const arrival = new Promise<WebSocket>((resolve) => {
    onSocket = (socket) => {
      socket.on('message', (data: Buffer) => messages.push(data));
      resolve(socket);
    };
  });
  const client = await dial();
  return [client, messages, once(await arrival, 'close')];
}

async function sendAll(duplex: Duplex, total: number): Promise<string> {
  const hash = createHash('sha256');
  const block = randomBytes(100_003);
  for (let left = total, turn = 0; left > 0; turn++) {
    const piece = Buffer.from(block.subarray(0, Math.min(left, 1 + ((turn * 7_919) % block.length))));
    hash.update(piece);
    left -= piece.length;
    if (!duplex.write(piece)) await once(duplex, 'drain');
  }
  duplex.end();
  return hash.digest('hex');
}

async function receiveAll(duplex: Duplex): Promise<[bytes: number, hash: string]> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of duplex) {
    bytes += chunk.length;
    hash.update(chunk);
  }
  return [bytes, hash.digest('hex')];
}

describe('a WebSocket as a Duplex', () => {
  it('moves 64 MiB both ways at once, every byte', async () => {
    const [a, b] = await connectedPair();
    // Uses events, because an async iterator would destroy the Duplex at its end while the other direction is still open.
    const collect = (duplex: Duplex): Promise<[number, string]> =>
      new Promise((resolve, reject) => {
        const hash = createHash('sha256');
        let bytes = 0;
        duplex.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          hash.update(chunk);
        });
        duplex.on('end', () => resolve([bytes, hash.digest('hex')]));
        duplex.on('error', reject);
      });
    const [sentByA, sentByB, atA, atB] = await Promise.all([
      sendAll(a, 64 * MIB),
      sendAll(b, 64 * MIB),
      collect(a),
      collect(b),
    ]);
    expect(atB).toEqual([64 * MIB, sentByA]);
    expect(atA).toEqual([64 * MIB, sentByB]);
  });

  it('keeps what is sent in the very turn in which the server takes the socket', async () => {
    for (let round = 0; round < 50; round++) {
      onSocket = (socket) => {
        socket.send('early');
        socket.send(Buffer.from(' bird'));
        socket.close(1000);
      };
      const client = await dial();
      await new Promise((resolve) => setImmediate(resolve));
      expect((await buffer(client)).toString()).toBe('early bird');
    }
  });

  it('takes writes and the end before it is open', async () => {
    const received = new Promise<Buffer>((resolve) => {
      onSocket = (socket) => {
        const duplex = webSocketDuplex(socket);
        resolve(buffer(duplex));
        duplex.end();
      };
    });
    const duplex = webSocketDuplex(new WebSocket(server.url, { ca: certificate.ca }));
    opened.push(duplex);
    duplex.write('one ');
    duplex.write('two ');
    duplex.end('three');
    expect((await received).toString()).toBe('one two three');
    duplex.resume();
    await once(duplex, 'end');
  });

  it('sends what is written in one turn together, in frames of at most 64 KiB', async () => {
    const [client, messages, closed] = await observed();
    const chunk = Buffer.alloc(57, 'x');
    for (let count = 0; count < 4_000; count++) client.write(chunk);
    client.end();
    await closed;
    expect(Buffer.concat(messages)).toHaveLength(4_000 * 57);
    expect(messages.length).toBeLessThanOrEqual(6);
    expect(Math.max(...messages.map((message) => message.length))).toBeLessThanOrEqual(LIMITS.frameBytes);
  });

  it('cuts one large write into frames of 64 KiB', async () => {
    const [client, messages, closed] = await observed();
    const large = randomBytes(5 * LIMITS.frameBytes + 1);
    client.end(large);
    await closed;
    expect(messages.map((message) => message.length)).toEqual([65_536, 65_536, 65_536, 65_536, 65_536, 1]);
    expect(Buffer.concat(messages).equals(large)).toBe(true);
  });

  it('keeps every byte in its place, whatever the sizes of the writes', async () => {
    const size = fc.oneof(
      fc.integer({ min: 0, max: 300 }),
      fc.integer({ min: 32_700, max: 32_800 }),
      fc.integer({ min: 65_500, max: 65_600 }),
      fc.integer({ min: 130_000, max: 200_000 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(size, { maxLength: 30 }), async (sizes) => {
        const [client, messages, closed] = await observed();
        const chunks = sizes.map((bytes) => randomBytes(bytes));
        for (const chunk of chunks) client.write(chunk);
        client.end();
        await closed;
        expect(Buffer.concat(messages).equals(Buffer.concat(chunks))).toBe(true);
        expect(Math.max(0, ...messages.map((message) => message.length))).toBeLessThanOrEqual(LIMITS.frameBytes);
      }),
      { numRuns: 25 },
    );
  });

  it('does not change the memory that was written', async () => {
    const [client, , closed] = await observed();
    const chunk = randomBytes(50_000);
    const copy = Buffer.from(chunk);
    client.end(chunk);
    await closed;
    expect(chunk.equals(copy)).toBe(true);
  });

  it('takes text messages as their bytes', async () => {
    onSocket = (socket) => {
      socket.send('grüß');
      socket.close(1000);
    };
    expect((await buffer(await dial())).toString()).toBe('grüß');
  });

  it('stops the sender while nobody reads, with little in memory, and loses nothing', async () => {
    const [a, b] = await connectedPair();
    let taken = 0;
    const sent = createHash('sha256');
    const block = randomBytes(65_536);
    const total = 64 * MIB;
    const push = (): void => {
      while (taken < total) {
        taken += block.length;
        sent.update(block);
        if (!a.write(block)) return;
      }
      a.end();
    };
    a.on('drain', push);
    push();
    let before = -1;
    while (before !== taken) {
      before = taken;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    // The limit is higher than the Duplex's buffer, because the kernel's socket buffers hold data too.
    expect(taken).toBeLessThan(32 * MIB);
    expect(a.writableLength + b.readableLength).toBeLessThan(MIB);
    expect(await receiveAll(b)).toEqual([total, sent.digest('hex')]);
  });

  it('holds for a reader that does not read what it was told to, and what was on its way', async () => {
    onSocket = (socket) => {
      for (let count = 0; count < 1_000; count++) socket.send(Buffer.alloc(1_000));
      socket.close(1000);
    };
    const socket = new WebSocket(server.url, { ca: certificate.ca });
    const duplex = webSocketDuplex(socket, { readBufferBytes: 1_000 });
    opened.push(duplex);
    await once(duplex, 'readable');
    for (let turns = 0; turns < 100; turns++) await new Promise((resolve) => setImmediate(resolve));
    // Beyond the limit there may be only the messages of one read of the socket.
    expect(duplex.readableLength).toBeLessThanOrEqual(1_000 + 65_536);
    expect(await buffer(duplex)).toHaveLength(1_000_000);
  });
});
