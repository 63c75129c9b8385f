import { connect, type TLSSocket } from 'node:tls';
import { CLOSE_CAUSES, CulvertError, newStreamId, type Side } from '@culvert/protocol';
import { grantPath, signGrant } from '@culvert/protocol/grant';
import { FakeClock, RawWebSocket, rawClose, rawFrame, startGateway, type TestGateway } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { GatewayLimits } from '../gateway-limits.ts';

let bench: TestGateway;
let open: RawWebSocket[] = [];

async function start(limits: Partial<GatewayLimits> = {}): Promise<void> {
  bench = await startGateway({ clock: new FakeClock(Date.now()), limits, threads: 'divided' });
}

beforeEach(() => start());
afterEach(async () => {
  for (const client of open) client.socket.destroy();
  open = [];
  await bench.stop();
  expect([bench.gateway.waitingConnections, bench.gateway.streams]).toEqual([0, 0]);
});

/** Comes to a thread with a grant; by default the device comes to thread 0, the service to thread 1. */
async function arrive(streamId: string, side: Side, thread = side === 'device' ? 0 : 1): Promise<RawWebSocket> {
  const { token } = await bench.grant(streamId, side);
  return come(streamId, side, token, thread);
}

async function come(streamId: string, side: Side, token: string, thread: number): Promise<RawWebSocket> {
  const port = bench.threads?.gateway.addresses[thread]?.port ?? 0;
  const client = await RawWebSocket.open({ url: `wss://127.0.0.1:${port}${grantPath(streamId, side)}`, token }, bench);
  open.push(client);
  return client;
}

async function openPair(deviceThread = 0, serviceThread = 1) {
  const streamId = newStreamId();
  const device = await arrive(streamId, 'device', deviceThread);
  const service = await arrive(streamId, 'service', serviceThread);
  await bench.event('stream-established', streamId);
  return { streamId, device, service };
}

const echoed = (payload: string) => ({ fin: true, opcode: 2, payload: Buffer.from(payload) });
const FAILED = { code: 1011, reason: CLOSE_CAUSES.gateway_failed };

describe('all threads together', () => {
  test('take a grant once, whichever two it comes to at the same time', async () => {
    for (let round = 0; round < 10; round++) {
      const streamId = newStreamId();
      const { token } = await bench.grant(streamId, 'device');
      const both = await Promise.all([come(streamId, 'device', token, 0), come(streamId, 'device', token, 1)]);
      const statuses = both.map(({ head }) => head.split(' ')[1]).sort();
      expect(statuses).toEqual(['101', '401']);
    }
  });

  test.each<Partial<GatewayLimits>>([{ maxStreams: 1 }, { maxWaiting: 1 }])('have one limit: %o', async (limits) => {
    await bench.stop();
    await start(limits);
    const streamId = newStreamId();
    await arrive(streamId, 'device');
    expect((await arrive(newStreamId(), 'service')).head).toMatch(/^HTTP\/1.1 429 /);
    expect((await arrive(streamId, 'service')).head).toMatch(/^HTTP\/1.1 101 /);
  });

  test('take up each other’s TLS sessions', async () => {
    const [first, second] = bench.threads?.gateway.addresses ?? [];
    const dial = (port: number, session?: Buffer): TLSSocket =>
      connect({ port, host: '127.0.0.1', ca: bench.ca, servername: '', ...(session && { session }) });
    const one = dial(first?.port ?? 0);
    const session = await new Promise<Buffer>((resolve) => one.once('session', resolve));
    one.destroy();
    const other = dial(second?.port ?? 0, session);
    await new Promise((resolve) => other.once('secureConnect', resolve));
    expect(other.isSessionReused()).toBe(true);
    other.destroy();
  });

  test('tell what a stream has carried so far', async () => {
    const { streamId, device, service } = await openPair();
    service.send(rawFrame(2, 'four'), rawFrame(2, 'more'));
    for (const word of ['four', 'more']) expect(await device.frame()).toEqual(echoed(word));
    device.send(rawFrame(2, 'one'));
    expect(await service.frame()).toEqual(echoed('one'));
    expect(bench.gateway.counters(streamId)).toEqual({
      fromService: { bytes: 8, messages: 2 },
      fromDevice: { bytes: 3, messages: 1 },
      // Each message as 64 at least.
      countedBytes: 192,
    });
    expect(bench.gateway.counters(newStreamId())).toBeUndefined();
  });

  test('end a stream whose sides are in two of them', async () => {
    const { streamId, device, service } = await openPair();
    expect(bench.gateway.end(streamId, new CulvertError('revoked', 'The device was disabled.'))).toBe(true);
    for (const side of [device, service]) expect((await side.close())?.reason).toBe('The device was disabled.');
    expect(await bench.event('stream-closed', streamId)).toMatchObject({ cause: 'revoked', error: 'revoked' });
  });
});

describe('a thread that dies', () => {
  test('takes its own streams with it, tells the side in the other thread, and leaves the others’ alone', async () => {
    const lost = await openPair();
    const kept = await openPair(1, 1);
    lost.service.send(rawFrame(2, 'said before'));
    await lost.device.frame();
    bench.threads?.crash(0);
    expect(await lost.service.close()).toEqual(FAILED);
    await lost.device.closed;
    expect(await bench.event('stream-closed', lost.streamId)).toMatchObject({
      cause: 'gateway_failed',
      error: 'stream_lost',
      established: true,
      fromService: { bytes: 11, messages: 1 },
    });
    kept.device.send(rawFrame(2, 'still here'));
    expect(await kept.service.frame()).toEqual(echoed('still here'));
    expect(bench.gateway.streams).toBe(1);
  });

  test('and has only the forwarded side, ends the stream for the other', async () => {
    const { streamId, device, service } = await openPair();
    bench.threads?.crash(1);
    expect(await device.close()).toEqual(FAILED);
    await service.closed;
    device.socket.end();
    expect(await bench.event('stream-closed', streamId)).toMatchObject({
      cause: 'gateway_failed',
      error: 'stream_lost',
    });
    expect(bench.gateway.streams).toBe(0);
  });

  test('in the middle of a flood cuts no frame', async () => {
    const { device, service } = await openPair();
    const flood = Buffer.concat(Array.from({ length: 64 }, (_, i) => rawFrame(2, Buffer.alloc(20_000, i))));
    const pour = (): void => {
      while (!device.socket.destroyed && device.socket.write(flood));
    };
    device.socket.on('drain', pour);
    pour();
    for (let i = 0; i < 200; i++) expect((await service.frame())?.payload.length).toBe(20_000);
    bench.threads?.crash(0);
    let frame = await service.frame();
    for (; frame?.opcode === 2; frame = await service.frame()) expect(frame.payload.length).toBe(20_000);
    expect(frame?.opcode).toBe(8);
    expect(frame?.payload.readUInt16BE(0)).toBe(1011);
  });

  test('and had a waiting connection, lets the other side know when it comes', async () => {
    const streamId = newStreamId();
    await arrive(streamId, 'device');
    await bench.event('connection-waiting', streamId);
    bench.threads?.crash(0);
    const ended = { cause: 'gateway_failed', established: false };
    expect(await bench.event('stream-closed', streamId)).toMatchObject(ended);
    expect((await arrive(streamId, 'service')).head).toMatch(/^HTTP\/1.1 410 /);
    expect(bench.gateway.waitingConnections).toBe(0);
  });

  test('says so without quoting, is replaced, and what was granted before is good', async () => {
    const streamId = newStreamId();
    const { token } = await bench.grant(streamId, 'device');
    bench.threads?.crash(0);
    const failed = await bench.event('gateway-thread-failed');
    expect(failed).toMatchObject({ thread: 0, streams: 0 });
    expect(failed.problem).toMatch(/^Error at .*gateway-thread-entry/);
    expect(failed.problem).not.toContain('secret');
    const replaced = bench.event('gateway-thread-replaced');
    await bench.advance(100);
    expect(await replaced).toMatchObject({ thread: 0 });
    const device = await come(streamId, 'device', token, 0);
    const service = await arrive(streamId, 'service');
    await bench.event('stream-established', streamId);
    device.send(rawFrame(2, 'as before'), rawClose(1000));
    expect(await service.frame()).toEqual(echoed('as before'));
    expect(await service.close()).toEqual({ code: 1000, reason: '' });
  });
});

test('on one address, the operating system divides the connections among them', async () => {
  const together = await startGateway({ clock: new FakeClock(Date.now()), threads: 'together' });
  const waitingConnections = await Promise.all(
    Array.from({ length: 40 }, async () =>
      RawWebSocket.open(await together.grant(newStreamId(), 'device'), { ca: together.ca }),
    ),
  );
  try {
    const registered = () => [...(together.threads?.reports.values() ?? [])].map((report) => report.waitingConnections);
    while (registered().reduce((sum, count) => sum + count, 0) < 40)
      await new Promise((resolve) => setImmediate(resolve));
    for (const count of registered()) expect(count).toBeGreaterThan(0);
    expect(new Set(together.threads?.gateway.addresses.map(({ port }) => port)).size).toBe(1);
  } finally {
    for (const { socket } of waitingConnections) socket.destroy();
    await together.stop();
  }
});

// The token is of the gateway, not of a thread.
test('a grant of another gateway is refused by all', async () => {
  const claims = {
    streamId: newStreamId(),
    side: 'device' as const,
    audience: 'another',
    expiresAt: Date.now() + 9_999,
  };
  const token = await signGrant(claims, bench.signingKey);
  for (const thread of [0, 1]) {
    expect((await come(claims.streamId, 'device', token, thread)).head).toMatch(/^HTTP\/1.1 401 /);
  }
});
