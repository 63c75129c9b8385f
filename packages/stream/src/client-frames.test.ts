import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { type TestCertificate, type TlsWebSocketServer, testCertificate, tlsWebSocketServer } from '@culvert/testkit';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import { ClientFrames } from './client-frames.ts';
import { dialDuplex } from './dial.ts';

/** Encodes a frame as a server sends it: without a mask. */
function frame(first: number, payload: Buffer): Buffer {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = first;
  head[1] = length < 126 ? length : length < 65_536 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

/** A connection whose other end the test controls, and the library's 'data' listener on it. */
function connection(maxPayload = 1_000_000) {
  const written: Buffer[][] = [];
  const received: Buffer[] = [];
  const library: Buffer[] = [];
  const far = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      written.push([chunk]);
      done();
    },
    writev: (chunks, done) => {
      written.push(chunks.map(({ chunk }) => chunk as Buffer));
      done();
    },
  });
  far.on('data', (chunk: Buffer) => library.push(chunk));
  const frames = ClientFrames.over(far, { receive: (piece) => received.push(piece), maxPayload });
  if (frames === undefined) throw new Error('not taken over');
  const say = (bytes: Buffer): Promise<void> => {
    far.push(bytes);
    return new Promise((resolve) => setImmediate(resolve));
  };
  return { far, frames, written, received, library, say };
}

describe('sending', () => {
  it('writes each message with its header as one buffer', () => {
    const { frames, written } = connection();
    frames.send([Buffer.from('hi')], undefined);
    frames.send([Buffer.alloc(20_000, 1)], undefined);
    frames.send([Buffer.alloc(65_536, 2)], undefined);
    const zeroKey = [0, 0, 0, 0];
    expect(written.map((chunks) => chunks.length)).toEqual([1, 1, 1]);
    const [small, large, largest] = written.map(([chunk]) => chunk as Buffer) as [Buffer, Buffer, Buffer];
    expect([...small]).toEqual([0x82, 0x82, ...zeroKey, ...Buffer.from('hi')]);
    expect([...large.subarray(0, 8)]).toEqual([0x82, 0xfe, 20_000 >> 8, 20_000 & 255, ...zeroKey]);
    expect(large.subarray(8).equals(Buffer.alloc(20_000, 1))).toBe(true);
    expect([...largest.subarray(0, 14)]).toEqual([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, ...zeroKey]);
    expect(largest.subarray(14).equals(Buffer.alloc(65_536, 2))).toBe(true);
  });

  it('uses the buffer of a large message again only when that has been written', async () => {
    const { frames, written } = connection();
    const memory = () => written.at(-1)?.[0]?.buffer;
    const send = (): Promise<void> => new Promise((resolve) => frames.send([Buffer.alloc(20_000)], () => resolve()));
    const first = send();
    const used = memory();
    frames.send([Buffer.alloc(20_000)], undefined);
    expect(memory()).not.toBe(used);
    await first;
    await send();
    expect(new Set(written.map(([chunk]) => chunk?.buffer)).size).toBe(2);
  });

  it('leaves a message longer than the hub sends beside its header, not copied', () => {
    const { frames, written } = connection();
    const large = Buffer.alloc(65_537);
    frames.send([large], undefined);
    expect(written[0]?.length).toBe(2);
    expect(written[0]?.[1]?.buffer).toBe(large.buffer);
  });
});

describe('receiving', () => {
  it('hands a message on as its bytes come, in the memory they came in', async () => {
    const { received, library, say } = connection();
    const whole = frame(0x82, Buffer.alloc(40_000, 3));
    const first = Buffer.from(whole.subarray(0, 16_000));
    const second = Buffer.from(whole.subarray(16_000));
    await say(first);
    await say(second);
    expect(received.map(({ length }) => length)).toEqual([15_996, 24_004]);
    expect(received.map(({ buffer }) => buffer)).toEqual([first.buffer, second.buffer]);
    expect(library).toEqual([]);
  });

  it('leaves control frames to the library, each whole, and reads nothing after a Close', async () => {
    const { received, library, say } = connection();
    const ping = frame(0x89, Buffer.from('?'));
    const close = frame(0x88, Buffer.from([3, 232]));
    await say(Buffer.concat([frame(0x82, Buffer.from('a')), ping, frame(0x82, Buffer.from('b'))]));
    await say(Buffer.concat([close, frame(0x82, Buffer.from('c'))]));
    expect(Buffer.concat(received).toString()).toBe('ab');
    expect(Buffer.concat(library)).toEqual(Buffer.concat([ping, close]));
  });

  it.each([
    ['text', frame(0x81, Buffer.from('t'))],
    ['a fragment', frame(0x02, Buffer.from('f'))],
    ['a reserved bit', frame(0xc2, Buffer.from('r'))],
    ['a reserved opcode', frame(0x83, Buffer.from('o'))],
    ['a mask', Buffer.from([0x82, 0x81, 1, 2, 3, 4, 5])],
    ['a ping that is too long', frame(0x89, Buffer.alloc(126))],
    ['a message that is too long', frame(0x82, Buffer.alloc(1_001))],
    ['a length beyond all numbers', Buffer.from([0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255])],
  ])('leaves %s and all that follows to the library', async (_, bytes) => {
    const { received, library, say, far } = connection(1_000);
    const before = frame(0x82, Buffer.from('before'));
    const after = frame(0x82, Buffer.from('after'));
    await say(Buffer.concat([before, bytes.subarray(0, 1)]));
    await say(Buffer.concat([bytes.subarray(1), after]));
    await say(after);
    expect(Buffer.concat(received).toString()).toBe('before');
    expect(Buffer.concat(library)).toEqual(Buffer.concat([bytes, after, after]));
    expect(far.listenerCount('data')).toBe(1);
  });

  it('still reads what a paused connection had read when it closed', async () => {
    const { received, far, say } = connection();
    far.pause();
    await say(frame(0x82, Buffer.from('last words')));
    expect(received).toEqual([]);
    far.destroy();
    await new Promise((resolve) => far.once('close', resolve));
    expect(Buffer.concat(received).toString()).toBe('last words');
  });

  it('changes nothing where the library does not listen in the way it is known to', () => {
    const far = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
    const options = { receive: () => undefined, maxPayload: 1 };
    expect(ClientFrames.over(far, options)).toBeUndefined();
    far.on('data', () => undefined).on('data', () => undefined);
    expect(ClientFrames.over(far, options)).toBeUndefined();
    expect(far.listenerCount('data')).toBe(2);
  });
});

describe('beside the library', () => {
  let certificate: TestCertificate;
  let server: TlsWebSocketServer;
  let arrived: (socket: WebSocket, request: IncomingMessage) => void = () => undefined;
  beforeAll(async () => {
    certificate = await testCertificate();
    server = await tlsWebSocketServer({ certificate, onSocket: (socket, request) => arrived(socket, request) });
  });
  afterAll(() => server.close());

  const bytes = fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.uint8Array({ minLength: 1, maxLength: 1 }), large());
  const sent = fc.record({
    kind: fc.constantFrom<('binary' | 'ping' | 'fragments' | 'text')[]>(
      'binary',
      'binary',
      'binary',
      'ping',
      'fragments',
      'text',
    ),
    payload: bytes.map((array) => Buffer.from(array)),
  });

  it('yields the same bytes, however frames are made and cut, and answers each ping', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(sent, { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 9_000 }), { maxLength: 40 }),
        async (list, given) => {
          const cuts = [...given];
          const expected = Buffer.concat(
            list.flatMap(({ kind, payload }) => (kind === 'ping' ? [] : [sentBytes(kind, payload)])),
          );
          const wire = Buffer.concat([
            ...list.map(({ kind, payload }) => framed(kind, payload)),
            frame(0x88, Buffer.from([3, 232])),
          ]);
          const pongs: Buffer[] = [];
          let closed: Promise<unknown> | undefined;
          arrived = (socket, request) => {
            closed = once(
              socket.on('pong', (data) => pongs.push(data)),
              'close',
            );
            for (let at = 0; at < wire.length; ) {
              const end = at + (cuts.shift() ?? 5_000);
              request.socket.write(wire.subarray(at, end));
              at = end;
            }
          };
          const client = await dialDuplex(server.url, { outbound: { ca: certificate.ca, proxy: false }, pingMs: 0 });
          const got: Buffer[] = [];
          client.on('data', (chunk: Buffer) => got.push(chunk)).on('end', () => client.end());
          await once(client, 'end');
          await closed;
          expect(Buffer.concat(got).equals(expected)).toBe(true);
          const pings = list.filter(({ kind }) => kind === 'ping').map(({ payload }) => payload.subarray(0, 125));
          expect(pongs).toEqual(pings);
        },
      ),
      { numRuns: 60 },
    );
  });
});

function large(): fc.Arbitrary<Uint8Array> {
  return fc.integer({ min: 60_000, max: 140_000 }).map((length) => new Uint8Array(length).fill(length & 255));
}

/** The bytes that are sent for a payload: for text, converted to ASCII. */
const sentBytes = (kind: string, payload: Buffer): Buffer =>
  kind === 'text' ? Buffer.from(payload.map((byte) => byte & 0x7f)) : payload;

function framed(kind: string, payload: Buffer): Buffer {
  if (kind === 'ping') return frame(0x89, payload.subarray(0, 125));
  if (kind === 'text') return frame(0x81, sentBytes(kind, payload));
  if (kind === 'binary') return frame(0x82, payload);
  const half = payload.length >> 1;
  return Buffer.concat([frame(0x02, payload.subarray(0, half)), frame(0x80, payload.subarray(half))]);
}
