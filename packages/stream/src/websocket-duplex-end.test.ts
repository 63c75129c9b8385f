import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { CulvertError, ERRORS, type ErrorCode, LIMITS } from '@culvert/protocol';
import {
  FakeClock,
  type TestCertificate,
  type TlsWebSocketServer,
  testCertificate,
  tlsWebSocketServer,
} from '@culvert/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import { dialDuplex } from './dial.ts';
import { type WebSocketDuplexOptions, webSocketDuplex } from './websocket-duplex.ts';

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

async function dial(options: WebSocketDuplexOptions & { maxPayload?: number } = {}): Promise<Duplex> {
  const duplex = await dialDuplex(server.url, { outbound: { ca: certificate.ca, proxy: false }, ...options });
  opened.push(duplex);
  return duplex;
}

/** A client's Duplex and the raw WebSocket at the other end. */
async function withRaw(options?: WebSocketDuplexOptions & { maxPayload?: number }): Promise<[Duplex, WebSocket]> {
  const arrival = new Promise<WebSocket>((resolve) => {
    onSocket = resolve;
  });
  return [await dial(options), await arrival];
}

async function connectedPair(options: WebSocketDuplexOptions = {}): Promise<[client: Duplex, server: Duplex]> {
  const arrival = new Promise<Duplex>((resolve) => {
    onSocket = (socket) => {
      const duplex = webSocketDuplex(socket);
      opened.push(duplex);
      resolve(duplex);
    };
  });
  return [await dial(options), await arrival];
}

async function failure(duplex: Duplex): Promise<CulvertError> {
  const [error] = await once(duplex, 'error');
  if (!(error instanceof CulvertError)) throw error;
  return error;
}

describe('the clean end', () => {
  it('is EOF after every byte, in both directions, and then the connection is closed', async () => {
    const [a, b] = await connectedPair();
    const closed = Promise.all([once(a, 'close'), once(b, 'close')]);
    b.pipe(b);
    a.end('question');
    expect((await buffer(a)).toString()).toBe('question');
    await closed;
    expect([a.errored, b.errored]).toEqual([null, null]);
    expect([b.readableEnded, b.writableFinished]).toEqual([true, true]);
  });

  it('does not cut off an answer that is given after the question has ended', async () => {
    const [a, b] = await connectedPair();
    const answer = randomBytes(10_000_000);
    a.end('question');
    b.resume();
    await once(b, 'end');
    b.write(answer.subarray(0, 4_000_000));
    setImmediate(() => b.end(answer.subarray(4_000_000)));
    expect((await buffer(a)).equals(answer)).toBe(true);
  });

  it('is told with 1000, and an answered 1000 is EOF', async () => {
    const [client, raw] = await withRaw();
    const closed = once(client, 'close');
    client.end('bye');
    client.resume();
    expect((await once(raw, 'close'))[0]).toBe(1000);
    await closed;
    expect(client.readableEnded).toBe(true);
    expect(client.errored).toBeNull();
  });

  it('does not end by itself after the peer has, be the answer as late as it likes', async () => {
    const clock = new FakeClock();
    const [client, raw] = await withRaw({ clock });
    client.resume();
    raw.close(1000);
    await once(client, 'end');
    const answer = once(raw, 'message');
    await clock.advance(LIMITS.halfCloseMs - 1);
    client.write('late');
    expect(String((await answer)[0])).toBe('late');
    await clock.advance(LIMITS.halfCloseMs - 1);
    const closed = once(raw, 'close');
    client.end();
    expect((await closed)[0]).toBe(1000);
    if (!client.closed) await once(client, 'close');
    expect(client.errored).toBeNull();
    expect(clock.timers).toBe(0);
  });
});

describe('half-close', () => {
  it('reads from a peer that has not ended for as long as bytes come, and fails when none did for the limit', async () => {
    const clock = new FakeClock();
    const [client, raw] = await withRaw({ clock, halfCloseMs: 20_000 });
    // The paused peer never reads the close frame, so it never closes.
    raw.pause();
    client.end();
    for (let i = 0; i < 4; i++) {
      await clock.advance(20_000);
      raw.send('still here');
      expect(String((await once(client, 'data'))[0])).toBe('still here');
    }
    const failed = failure(client);
    // The client waits a little longer than the gateway's limit, because the gateway can report a more exact reason.
    await clock.advance(20_000 + LIMITS.lingerMs - 1);
    expect(client.destroyed).toBe(false);
    await clock.advance(1);
    expect((await failed).code).toBe('half_close_timeout');
    expect(client.readableEnded).toBe(false);
    await clock.advance(1_000);
    expect(clock.timers).toBe(0);
  });

  it('fails with 4424 when this side sends nothing for the limit, never with 1000', async () => {
    const clock = new FakeClock();
    const [client, raw] = await withRaw({ clock });
    client.resume();
    const closed = once(raw, 'close');
    raw.close(1000);
    await once(client, 'end');
    const message = once(raw, 'message');
    await new Promise((resolve) => client.write('some, and then no more', resolve));
    await message;
    const failed = failure(client);
    await clock.advance(LIMITS.halfCloseMs - 1);
    expect(client.destroyed).toBe(false);
    await clock.advance(1);
    expect((await failed).code).toBe('half_close_timeout');
    expect((await closed)[0]).toBe(4424);
    expect(clock.timers).toBe(0);
  });

  it('gives what waits for a reader who takes nothing the time of a stalled write', async () => {
    const clock = new FakeClock();
    const [client, raw] = await withRaw({ clock });
    raw.pause();
    client.end();
    for (let i = 0; i < 8; i++) raw.send(randomBytes(65_536));
    await once(client, 'readable');
    while (client.readableLength < 4 * 65_536) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(LIMITS.stallMs - 1_000);
    expect(client.destroyed).toBe(false);
    let bytes = 0;
    for await (const chunk of client.iterator({ destroyOnReturn: false })) {
      bytes += chunk.length;
      if (bytes === 8 * 65_536) break;
    }
    expect(client.destroyed).toBe(false);
  });

  it('fails at once when the connection is lost before this side has ended', async () => {
    const [client, raw] = await withRaw();
    client.resume();
    raw.close(1000);
    await once(client, 'end');
    const failed = failure(client);
    raw.terminate();
    expect(await failed).toMatchObject({
      code: 'stream_lost',
      message: 'The connection was lost before this side had ended.',
    });
  });

  it('is cut at once by destroy(error) when its Close was sent: no second one can say so', async () => {
    const clock = new FakeClock();
    const [client, raw] = await withRaw({ clock });
    client.end('all');
    await once(raw, 'message');
    raw.pause();
    const failed = failure(client);
    client.destroy(new CulvertError('stream_lost', 'the program went away'));
    await failed;
    raw.resume();
    await once(raw, 'close');
    expect(clock.timers).toBe(0);
  });

  it('ends with the peer where no half-close is wanted', async () => {
    const [client, raw] = await withRaw({ allowHalfOpen: false });
    const closed = once(raw, 'close');
    client.resume();
    client.write('before');
    raw.close(1000);
    expect((await closed)[0]).toBe(1000);
  });
});

describe('an aborted end', () => {
  const codes: [close: number, error: ErrorCode][] = [
    [1001, 'stream_lost'],
    [1002, 'protocol_error'],
    [1003, 'stream_lost'],
    [1007, 'stream_lost'],
    [1008, 'stream_lost'],
    [1009, 'too_large'],
    [1011, 'stream_lost'],
    [1012, 'draining'],
    [1013, 'stream_lost'],
    [3000, 'stream_lost'],
    [4403, 'revoked'],
    [4406, 'rejected'],
    [4408, 'handshake_timeout'],
    [4410, 'withdrawn'],
    [4411, 'stalled'],
    [4424, 'half_close_timeout'],
    [4999, 'stream_lost'],
  ];

  it.each(codes)('close code %i is %s, never EOF', async (close, error) => {
    const [client, raw] = await withRaw();
    const failed = failure(client);
    let ended = false;
    client.on('end', () => {
      ended = true;
    });
    client.resume();
    raw.close(close, 'the reason');
    expect(await failed).toMatchObject({ code: error, message: 'the reason' });
    expect(ended).toBe(false);
  });

  it('is also a close frame without a code', async () => {
    const [client, raw] = await withRaw();
    const failed = failure(client);
    const closed = once(raw, 'close');
    raw.close();
    expect((await failed).code).toBe('stream_lost');
    // The answer still has a code, because an empty close frame makes one of Azure’s devices crash.
    expect((await closed)[0]).toBe(1000);
  });

  it('is a connection that is cut', async () => {
    const [client, raw] = await withRaw();
    const failed = failure(client);
    raw.terminate();
    expect(await failed).toMatchObject({ code: 'stream_lost', message: 'The connection was lost.' });
  });

  it('fails a write that is under way', async () => {
    const [client, raw] = await withRaw();
    raw.pause();
    const failed = failure(client);
    client.write(randomBytes(50_000_000));
    raw.terminate();
    expect((await failed).code).toBe('stream_lost');
  });

  it.each([
    ['a close frame', (raw: WebSocket) => raw.close(1011, 'gone')],
    ['a cut connection', (raw: WebSocket) => raw.terminate()],
  ])('comes after the bytes that came before it: %s', async (_how, end) => {
    const [client, raw] = await withRaw();
    await new Promise<void>((resolve) => raw.send(Buffer.alloc(100_000, 'a'), () => resolve()));
    await once(client, 'readable');
    const before = client.readableLength;
    const over = once(raw, 'close');
    end(raw);
    await over;
    await new Promise((resolve) => setImmediate(resolve));
    expect(client.destroyed).toBe(false);
    let bytes = 0;
    client.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    expect((await failure(client)).code).toBe('stream_lost');
    expect(bytes).toBeGreaterThanOrEqual(before);
    expect(bytes).toBe(100_000);
  });

  it('does not wait for a reader who does not read', async () => {
    const clock = new FakeClock();
    const [client, raw] = await withRaw({ clock });
    raw.send('unread');
    await once(client, 'readable');
    const over = once(raw, 'close');
    raw.close(1012, 'restarting');
    await over;
    const failed = failure(client);
    await clock.advance(5_000);
    expect((await failed).code).toBe('draining');
    await clock.advance(1_000);
    expect(clock.timers).toBe(0);
  });

  it('is a peer who breaks the protocol, and who is told', async () => {
    const [client, raw] = await withRaw({ maxPayload: 1_000 });
    const failed = failure(client);
    const closed = once(raw, 'close');
    raw.send(Buffer.alloc(1_001));
    expect((await failed).code).toBe('too_large');
    expect((await closed)[0]).toBe(1009);
  });
});

describe('destroy', () => {
  it.each(Object.keys(ERRORS) as ErrorCode[])('tells the peer the close code of %s', async (code) => {
    const [client, raw] = await withRaw();
    const closed = once(raw, 'close');
    const failed = failure(client);
    client.destroy(new CulvertError(code, 'x'.repeat(200)));
    await failed;
    const [close, reason] = await closed;
    expect(close).toBe(ERRORS[code].close);
    expect(reason.toString()).toBe('x'.repeat(123));
  });

  it('tells 1011 for a foreign error, without its text, and for none', async () => {
    const [client, raw] = await withRaw();
    const closed = once(raw, 'close');
    client.on('error', () => {});
    client.destroy(new Error('inner details'));
    expect(await closed).toMatchObject([1011, Buffer.alloc(0)]);
    const [other, otherRaw] = await withRaw();
    other.destroy();
    expect((await once(otherRaw, 'close'))[0]).toBe(1011);
  });

  it('is no failure after the end of the peer was read', async () => {
    const [client, raw] = await withRaw();
    const closed = once(raw, 'close');
    raw.close(1000);
    for await (const _ of client) throw new Error('nothing was sent');
    client.destroy();
    expect((await closed)[0]).toBe(1000);
    expect(client.destroyed).toBe(true);
  });

  it('never says 1000 when something is left to send', async () => {
    const [client, raw] = await withRaw({ clock: new FakeClock() });
    const closed = once(raw, 'close');
    // The clock does not advance, so that even on a slow machine the close frame behind all this data is delivered before the timeout.
    raw.pause();
    client.on('error', () => {});
    client.write(randomBytes(20_000_000));
    client.destroy();
    raw.resume();
    expect((await closed)[0]).toBe(1011);
  });

  it('cuts the connection of a peer who does not answer, within a second', async () => {
    const clock = new FakeClock();
    const [client, raw] = await withRaw({ clock });
    raw.pause();
    const failed = failure(client);
    client.write(randomBytes(20_000_000));
    client.destroy(new CulvertError('revoked'));
    expect((await failed).code).toBe('revoked');
    const closed = once(raw, 'close');
    await clock.advance(1_000);
    raw.resume();
    expect((await closed)[0]).toBe(1006);
    expect(clock.timers).toBe(0);
  });
});
