import { Socket } from 'node:net';
import { CulvertError, LIMITS, newStreamId, type Side, STREAM_SUBPROTOCOL } from '@culvert/protocol';
import { FakeClock, RawWebSocket, rawClose, rawFrame, startGateway, type TestGateway } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { GatewayLimits } from './gateway-limits.ts';

let bench: TestGateway;
let clock: FakeClock;
let threads: 'divided' | undefined;
let open: RawWebSocket[] = [];

async function start(limits: Partial<GatewayLimits> = {}): Promise<void> {
  clock = new FakeClock(Date.now());
  bench = await startGateway({ clock, limits, threads });
}

async function arrive(
  streamId: string,
  side: Side,
  options: { headers?: Record<string, string>; early?: Buffer } = {},
) {
  const client = await RawWebSocket.connect(await bench.grant(streamId, side), { ca: bench.ca, ...options });
  open.push(client);
  await client.answer();
  return client;
}

/** Two sides that are paired. */
async function openPair(headers: Record<string, string> = {}) {
  const streamId = newStreamId();
  const device = await arrive(streamId, 'device', { headers });
  const service = await arrive(streamId, 'service', { headers });
  await bench.event('stream-established', streamId);
  return { streamId, device, service };
}

/** Moves the clock until a promise settles, for what also needs real input and output. */
async function whileAdvancing<T>(promise: Promise<T>, stepMs = 1_000): Promise<T> {
  let settled = false;
  void promise.finally(() => {
    settled = true;
  });
  while (!settled) await bench.advance(stepMs);
  return promise;
}

const V1 = { 'Sec-WebSocket-Protocol': STREAM_SUBPROTOCOL };

const echoed = (payload: string) => ({ fin: true, opcode: 2, payload: Buffer.from(payload) });

/** Resolves when a number has not changed for fifty iterations of the event loop that each waited for I/O. */
async function settled(value: () => number): Promise<void> {
  for (let last = -1, same = 0; same < 50; ) {
    await new Promise((resolve) => setTimeout(resolve, 2));
    same = value() === last ? same + 1 : 0;
    last = value();
  }
}

describe.each<[string, typeof threads]>([
  ['in one thread', undefined],
  ['of two threads, a side in each', 'divided'],
])('a gateway %s', (_how, landing) => {
  beforeEach(() => {
    threads = landing;
    return start();
  });
  afterEach(async () => {
    for (const client of open) client.socket.destroy();
    open = [];
    await bench.stop();
    expect([bench.gateway.waitingConnections, bench.gateway.streams, clock.timers]).toEqual([0, 0, 0]);
    for (const report of bench.threads?.reports.values() ?? [])
      expect(report).toMatchObject({ waitingConnections: 0, streams: 0, blocksTaken: 0, timers: 0 });
  });

  describe('the rendezvous', () => {
    test.each<[Side, Side]>([
      ['device', 'service'],
      ['service', 'device'],
    ])('the %s may come first, and what it sent early is delivered when the %s comes', async (one, two) => {
      const streamId = newStreamId();
      const first = await arrive(streamId, one, { early: rawFrame(2, 'early') });
      first.send(rawFrame(2, 'later'));
      const second = await arrive(streamId, two);
      expect(await second.frame()).toEqual(echoed('early'));
      expect(await second.frame()).toEqual(echoed('later'));
      second.send(rawFrame(2, 'back'));
      expect(await first.frame()).toEqual(echoed('back'));
      expect(bench.events.map(({ type }) => type)).toEqual([
        'connection-waiting',
        'connection-waiting',
        'stream-established',
      ]);
    });

    test('a waiting connection waits until its grant expires, and is told 4408', async () => {
      const streamId = newStreamId();
      const client = await arrive(streamId, 'service');
      await bench.advance(LIMITS.handshakeMs - 1);
      expect(bench.gateway.waitingConnections).toBe(1);
      await bench.advance(1);
      expect(await client.close()).toEqual({ code: 4408, reason: 'The other side did not come in time.' });
      await client.closed;
      expect(await bench.event('stream-closed')).toMatchObject({
        cause: 'handshake_timeout',
        established: false,
        durationMs: LIMITS.handshakeMs,
      });
    });

    test('the handshake deadline does not end a stream that was joined', async () => {
      const { device, service } = await openPair();
      await bench.advance(3 * LIMITS.handshakeMs);
      device.send(rawFrame(2, 'still here'));
      expect(await service.frame()).toEqual(echoed('still here'));
    });

    test.each<[string, (client: RawWebSocket) => void, string]>([
      ['cuts its connection', (client) => client.socket.destroy(), 'lost_by_service'],
      ['ends its connection', (client) => client.socket.end(), 'lost_by_service'],
      ['closes with an error', (client) => client.send(rawClose(1011)), 'ended_by_service'],
      ['breaks the protocol', (client) => client.send(rawFrame(3, '')), 'protocol_error'],
    ])(
      'a waiting connection that %s is noticed at once, and the other side is told when it comes',
      async (_, leave, cause) => {
        const streamId = newStreamId();
        const client = await arrive(streamId, 'service', { early: rawFrame(2, 'abc') });
        leave(client);
        expect(await bench.event('stream-closed')).toMatchObject({ cause, established: false });
        expect(bench.gateway.waitingConnections).toBe(0);
        const late = await arrive(streamId, 'device');
        expect(late.head).toMatch(/^HTTP\/1.1 410 /);
      },
    );

    test('a waiting connection that closes without having sent anything is noticed at once', async () => {
      const streamId = newStreamId();
      const client = await arrive(streamId, 'service');
      client.send(rawClose(1000));
      expect(await bench.event('stream-closed')).toMatchObject({ cause: 'ended_by_service', established: false });
      expect(await client.close()).toMatchObject({ code: 1000 });
    });

    test.each([
      ['and still listens', false],
      ['and is gone', true],
    ])(
      'what a waiting connection sent before it ended cleanly, %s, is delivered when the other side comes',
      async (_, leaves) => {
        const streamId = newStreamId();
        const service = await arrive(streamId, 'service', { early: rawFrame(2, 'all I had to say') });
        service.send(rawClose(1000));
        await settled(() => bench.bufferedBytes);
        if (leaves) service.reset();
        await settled(() => bench.bufferedBytes);
        // It goes on after it was told the end, so it must know half-close.
        const device = await arrive(streamId, 'device', { headers: V1 });
        expect(await device.frame()).toEqual(echoed('all I had to say'));
        if (!leaves) {
          device.send(rawFrame(2, 'an answer'));
          expect(await service.frame()).toEqual(echoed('an answer'));
        }
        expect(await device.close()).toEqual({ code: 1000, reason: '' });
        device.send(rawClose(1000));
        device.socket.end();
        if (!leaves) {
          expect(await service.close()).toMatchObject({ code: 1000 });
          service.socket.end();
        }
        expect(await whileAdvancing(bench.event('stream-closed'))).toMatchObject({
          cause: 'ended_by_service',
          established: true,
          fromService: { bytes: 16, messages: 1 },
        });
      },
    );

    test('a waiting connection that ended cleanly waits no longer than its grant holds, and is told', async () => {
      const client = await arrive(newStreamId(), 'service', { early: rawFrame(2, 'abc') });
      client.send(rawClose(1000));
      await settled(() => bench.bufferedBytes);
      await bench.advance(LIMITS.handshakeMs);
      expect(await client.close()).toMatchObject({ code: 4408 });
      expect(await bench.event('stream-closed')).toMatchObject({ cause: 'handshake_timeout', established: false });
    });

    test('a waiting connection whose upgrade and offence come in one segment is refused and leaves nothing behind', async () => {
      const client = await arrive(newStreamId(), 'service', { early: rawFrame(3, '') });
      expect((await client.close())?.code).toBe(1002);
      expect(await bench.event('stream-closed')).toMatchObject({ cause: 'protocol_error' });
      expect(bench.gateway.waitingConnections).toBe(0);
    });

    test('a waiting connection fills 64 KiB, is paused, loses nothing, and is answered', async () => {
      const streamId = newStreamId();
      const client = await arrive(streamId, 'service');
      const frames = Array.from({ length: 300 }, (_, i) => Buffer.alloc(10_000, i));
      for (const frame of frames) client.send(rawFrame(2, frame));
      await settled(() => bench.bufferedBytes);
      // 64 KiB kept, one chunk that was under way, and what Node had read by then.
      expect(bench.bufferedBytes).toBeGreaterThanOrEqual(LIMITS.frameBytes);
      expect(bench.bufferedBytes).toBeLessThan(4 * LIMITS.frameBytes);
      const device = await arrive(streamId, 'device');
      for (const frame of frames) expect((await device.frame())?.payload.equals(frame)).toBe(true);
    });

    test('a waiting connection is answered its pings', async () => {
      const client = await arrive(newStreamId(), 'device');
      client.send(rawFrame(9, 'are you there'));
      expect(await client.frame()).toEqual({ fin: true, opcode: 10, payload: Buffer.from('are you there') });
    });

    test('end() before anyone came bars both grants, tells a waiting connection, and frees everything', async () => {
      const streamId = newStreamId();
      const grant = await bench.grant(streamId, 'device');
      const client = await arrive(streamId, 'service');
      await bench.event('connection-waiting');
      expect(bench.gateway.end(streamId, new CulvertError('rejected', 'Not today.'))).toBe(true);
      expect(await client.close()).toEqual({ code: 4406, reason: 'Not today.' });
      const late = await RawWebSocket.open(grant, { ca: bench.ca });
      expect(late.head).toMatch(/^HTTP\/1.1 403 /);
      expect(bench.events.filter(({ type }) => type === 'stream-closed')).toMatchObject([{ cause: 'rejected' }]);
      expect(bench.gateway.end(newStreamId(), new CulvertError('withdrawn'))).toBe(false);
      await bench.advance(LIMITS.handshakeMs);
      late.socket.destroy();
    });

    test('more waiting connections than allowed are refused with 429, the one they wait for is not', async () => {
      await bench.stop();
      await start({ maxWaiting: 1 });
      const streamId = newStreamId();
      await arrive(streamId, 'service');
      const grant = await bench.grant(newStreamId(), 'service');
      const refused = await RawWebSocket.open(grant, { ca: bench.ca });
      expect(refused.head).toMatch(/^HTTP\/1.1 429 /);
      const second = await arrive(streamId, 'device');
      expect(second.head).toMatch(/^HTTP\/1.1 101 /);
      const again = await RawWebSocket.open(grant, { ca: bench.ca });
      expect(again.head).toMatch(/^HTTP\/1.1 101 /);
      again.socket.destroy();
    });
  });

  describe('the end of a stream', () => {
    test.each<[Side, Buffer, { code: number; reason: string }]>([
      ['device', rawClose(1000, 'done'), { code: 1000, reason: 'done' }],
      ['service', rawClose(4321, 'mine'), { code: 4321, reason: 'mine' }],
      ['service', rawFrame(8, ''), { code: 1000, reason: '' }],
    ])(
      'the close frame of the %s reaches the other after every byte, which may still send',
      async (side, close, told) => {
        const { streamId, device, service } = await openPair(V1);
        const [from, to] = side === 'device' ? [device, service] : [service, device];
        from.send(rawFrame(2, Buffer.alloc(200_000, 1)), rawFrame(2, 'last'), close);
        const frames = [];
        for (let frame = await to.frame(); frame !== undefined && frame.opcode !== 8; frame = await to.frame()) {
          frames.push(frame);
        }
        expect(Buffer.concat(frames.map(({ payload }) => payload)).length).toBe(200_004);
        to.send(rawFrame(2, 'one more thing'), rawClose(1000, 'bye'));
        expect(await from.frame()).toEqual(echoed('one more thing'));
        expect(await from.close()).toEqual({ code: 1000, reason: 'bye' });
        expect(await bench.event('stream-closed', streamId)).toMatchObject({
          cause: `ended_by_${side}`,
          established: true,
          [side === 'device' ? 'fromDevice' : 'fromService']: { bytes: 200_004, messages: 2 },
          [side === 'device' ? 'fromService' : 'fromDevice']: { bytes: 14, messages: 1 },
        });
        expect(told.code).toBeGreaterThan(0);
      },
    );

    test.each<[Buffer, { code: number; reason: string }]>([
      [rawClose(1000, 'done'), { code: 1000, reason: 'done' }],
      [rawClose(4321, 'mine'), { code: 4321, reason: 'mine' }],
      [rawFrame(8, ''), { code: 1000, reason: '' }],
    ])('code and reason are kept, and an empty close becomes 1000', async (close, told) => {
      const { device, service } = await openPair();
      device.send(close);
      expect(await service.close()).toEqual(told);
    });

    test('both may close at once', async () => {
      const { streamId, device, service } = await openPair();
      device.send(rawClose(1000, 'd'));
      service.send(rawClose(1001, 's'));
      expect(await service.close()).toEqual({ code: 1000, reason: 'd' });
      expect(await device.close()).toEqual({ code: 1001, reason: 's' });
      await bench.event('stream-closed', streamId);
    });

    test.each<Side>(['device', 'service'])(
      'a lost %s ends the other with 1011, after every whole frame',
      async (side) => {
        const { streamId, device, service } = await openPair();
        const [lost, other] = side === 'device' ? [device, service] : [service, device];
        lost.send(rawFrame(2, 'whole'), rawFrame(2, Buffer.alloc(500)).subarray(0, 300));
        expect(await other.frame()).toEqual(echoed('whole'));
        lost.reset();
        expect(await other.close()).toEqual({ code: 1011, reason: 'WS disconnected' });
        await other.closed;
        expect(await bench.event('stream-closed', streamId)).toMatchObject({ cause: `lost_by_${side}` });
      },
    );

    test('a side that closes and then ends its TCP is not lost, and neither is one that answers so', async () => {
      const { streamId, device, service } = await openPair();
      device.send(rawClose(1000));
      device.socket.end();
      expect(await service.close()).toEqual({ code: 1000, reason: '' });
      service.send(rawClose(1000));
      service.socket.end();
      expect(await bench.event('stream-closed', streamId)).toMatchObject({ cause: 'ended_by_device' });
    });

    test('a side that drops its connection instead of answering a close is told to the one that waits', async () => {
      const { streamId, device, service } = await openPair();
      service.send(rawClose(1000));
      expect(await device.close()).toEqual({ code: 1000, reason: '' });
      device.reset();
      expect(await service.close()).toEqual({ code: 1011, reason: 'WS disconnected' });
      expect(await bench.event('stream-closed', streamId)).toMatchObject({ cause: 'lost_by_device' });
    });

    test.each<[string, Buffer]>([
      ['a reserved opcode', rawFrame(3, 'x')],
      ['an unmasked frame', rawFrame(2, 'x', { mask: null })],
      ['a close code that never travels', rawClose(1006)],
      ['half a close code', rawFrame(8, 'x')],
    ])('%s gets 1002, the other side 1011', async (_, bytes) => {
      const { streamId, device, service } = await openPair();
      device.send(bytes);
      expect((await device.close())?.code).toBe(1002);
      expect(await service.close()).toEqual({ code: 1011, reason: 'The other side broke the protocol.' });
      expect(await bench.event('stream-closed', streamId)).toMatchObject({ cause: 'protocol_error' });
    });

    test('a close frame can follow in the middle of a long frame', async () => {
      const { streamId, device, service } = await openPair();
      device.send(rawFrame(2, Buffer.alloc(100_000), { declare: 2 ** 30 }));
      expect(await service.frame()).toMatchObject({ fin: false, opcode: 2 });
      bench.gateway.end(streamId, new CulvertError('revoked'));
      expect(await service.close()).toEqual({ code: 4403, reason: 'Access was revoked.' });
      expect(await device.close()).toEqual({ code: 4403, reason: 'Access was revoked.' });
      expect(await bench.event('stream-closed', streamId)).toMatchObject({ cause: 'revoked' });
    });

    test('a client that does not end its TCP after end() is cut', async () => {
      const { streamId, device, service } = await openPair();
      device.socket.pause();
      bench.gateway.end(streamId, new CulvertError('revoked'));
      expect((await service.close())?.code).toBe(4403);
      expect(await whileAdvancing(bench.event('stream-closed', streamId))).toMatchObject({ cause: 'revoked' });
      device.socket.resume();
      await device.closed;
    });
  });

  describe('pings', () => {
    test('are answered and not passed on, pongs are swallowed, and a flood gets fewer answers', async () => {
      const { device, service } = await openPair();
      device.send(
        rawFrame(10, 'unasked'),
        ...Array.from({ length: 5_000 }, (_, i) => rawFrame(9, `${i}`)),
        rawFrame(2, 'data'),
      );
      expect(await service.frame()).toEqual(echoed('data'));
      let last: string | undefined;
      let answers = 0;
      while (last !== '4999') {
        const frame = await device.frame();
        expect(frame?.opcode).toBe(10);
        last = frame?.payload.toString();
        answers++;
      }
      expect(answers).toBeLessThan(1_000);
    });

    test('go only to clients that declared they cope', async () => {
      const { device, service } = await openPair({ 'Sec-WebSocket-Protocol': 'MQTT' });
      await bench.advance(10 * LIMITS.pingMs);
      service.send(rawFrame(2, 'nothing before'));
      expect(await device.frame()).toEqual(echoed('nothing before'));
    });

    test('come every 25 s; anything received counts as an answer', async () => {
      const { device, service } = await openPair({ 'Sec-WebSocket-Protocol': STREAM_SUBPROTOCOL });
      for (let i = 0; i < 5; i++) {
        await bench.advance(LIMITS.pingMs);
        for (const client of [device, service]) expect((await client.frame())?.opcode).toBe(9);
        device.send(rawFrame(10, ''));
        service.send(rawFrame(2, `${i}`));
        expect(await device.frame()).toEqual(echoed(`${i}`));
        device.send(rawFrame(2, 'x'));
        expect(await service.frame()).toEqual(echoed('x'));
      }
    });

    test('unanswered for two intervals, the client is lost', async () => {
      const { streamId, device, service } = await openPair({ 'Sec-WebSocket-Protocol': STREAM_SUBPROTOCOL });
      await bench.advance(LIMITS.pingMs);
      await bench.advance(LIMITS.pingMs);
      service.send(rawFrame(10, ''), rawFrame(2, 'received'));
      while ((await device.frame())?.opcode !== 2);
      await bench.advance(LIMITS.pingMs);
      expect(await service.close()).toEqual({ code: 1011, reason: 'WS disconnected' });
      await device.closed;
      expect(await bench.event('stream-closed', streamId)).toMatchObject({ cause: 'lost_by_device' });
    });
  });

  describe('stopping', () => {
    test('close() refuses upgrades, tells waiting connections, and lets streams end by themselves', async () => {
      const { device, service } = await openPair();
      const client = await arrive(newStreamId(), 'device');
      const closed = bench.gateway.close(60_000);
      expect(await client.close()).toMatchObject({ code: 1012 });
      const refused = await arrive(newStreamId(), 'device');
      expect(refused.head).toMatch(/^HTTP\/1.1 503 /);
      await bench.advance(30_000);
      device.send(rawFrame(2, 'last words'), rawClose(1000));
      expect(await service.frame()).toEqual(echoed('last words'));
      expect(await service.close()).toMatchObject({ code: 1000 });
      service.send(rawClose(1000));
      await closed;
      expect(bench.events.filter(({ type }) => type === 'stream-closed')).toMatchObject([
        { cause: 'shutting_down' },
        { cause: 'ended_by_device' },
      ]);
    });

    test('close() ends what is left after the grace with 1012', async () => {
      const { device, service } = await openPair();
      const closed = bench.gateway.close(10_000);
      await bench.advance(10_000);
      expect(await device.close()).toMatchObject({ code: 1012 });
      expect(await service.close()).toMatchObject({ code: 1012 });
      await closed;
    });

    test('destroy() cuts streams and waiting connections and tells why', async () => {
      const { device, streamId } = await openPair();
      const other = newStreamId();
      const client = await arrive(other, 'device');
      await bench.event('connection-waiting', other);
      bench.gateway.destroy();
      await Promise.all([device.closed, client.closed]);
      for (const ended of [streamId, other]) {
        expect(await bench.event('stream-closed', ended)).toMatchObject({ cause: 'shutting_down' });
      }
      expect(bench.gateway.waitingConnections).toBe(0);
      expect(bench.gateway.streams).toBe(0);
    });
  });
});

describe('the keepalive of a client', () => {
  beforeEach(() => {
    threads = undefined;
    return start();
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    for (const client of open) client.socket.destroy();
    open = [];
    await bench.stop();
  });

  test.each([
    ['that is pinged leaves the line alone', { 'Sec-WebSocket-Protocol': STREAM_SUBPROTOCOL }, 120_000],
    ['that must not be pinged asks after 30 s', {}, 30_000],
  ])('%s', async (_what, headers, idleMs) => {
    const stated = vi.spyOn(Socket.prototype, 'setKeepAlive');
    await arrive(newStreamId(), 'device', { headers });
    expect(stated.mock.calls).toEqual([[true, idleMs, 10_000, 4]]);
  });
});
