import { LIMITS, newStreamId, type Side, STREAM_SUBPROTOCOL } from '@culvert/protocol';
import { FakeClock, RawWebSocket, rawClose, rawFrame, startGateway, type TestGateway } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EMPTY_MESSAGES } from './empty-messages.ts';

/** A Culvert client, or one of Azure that offers no subprotocol. */
type Client = 'v1' | 'legacy';

const CLEAN = { code: 1000, reason: '' };
const LOST = { code: 1011, reason: 'WS disconnected' };
const CUT = {
  code: 1011,
  reason: expect.stringContaining(
    'client does not know half-close: it closed when it was told the end, and may have had',
  ),
};

let bench: TestGateway;
let clock: FakeClock;
let open: RawWebSocket[] = [];

async function arrive(streamId: string, side: Side, client: Client): Promise<RawWebSocket> {
  const headers = client === 'v1' ? { 'Sec-WebSocket-Protocol': STREAM_SUBPROTOCOL } : {};
  const socket = await RawWebSocket.open(await bench.grant(streamId, side), { ca: bench.ca, headers });
  open.push(socket);
  return socket;
}

async function openPair(of: { device: Client; service: Client }) {
  const streamId = newStreamId();
  const device = await arrive(streamId, 'device', of.device);
  const service = await arrive(streamId, 'service', of.service);
  await bench.event('stream-established', streamId);
  return { streamId, device, service };
}

/** The next data; empty messages, pings and pongs are passed over. */
async function data(client: RawWebSocket): Promise<string | undefined> {
  for (;;) {
    const frame = await client.frame();
    if (frame === undefined || frame.opcode === 8) return undefined;
    if (frame.opcode === 2 && frame.payload.length > 0) return frame.payload.toString();
  }
}

/** The frame that Azure's C# proxies repeat when their local program has closed. */
const empties = (count: number): Buffer => Buffer.concat(Array.from({ length: count }, () => rawFrame(2, '')));

const ended = (streamId: string) => bench.event('stream-closed', streamId);

/** Moves the clock until a promise settles, for what also needs real input and output. */
async function whileAdvancing<T>(promise: Promise<T>): Promise<T> {
  let settled = false;
  void promise.finally(() => {
    settled = true;
  });
  while (!settled) await bench.advance(100);
  return promise;
}

describe.each<[string, { plain?: boolean; threads?: 'divided' }]>([
  ['with WebAssembly', {}],
  ['in the plain way', { plain: true }],
  ['of two threads, a side in each', { threads: 'divided' }],
])('half-close at a gateway %s', (_how, options) => {
  beforeEach(async () => {
    clock = new FakeClock(Date.now());
    bench = await startGateway({ clock, ...options, limits: { pingMs: 0 } });
  });
  afterEach(async () => {
    for (const client of open) client.socket.destroy();
    open = [];
    await bench.stop();
    expect([bench.gateway.waitingConnections, bench.gateway.streams, clock.timers]).toEqual([0, 0, 0]);
  });

  describe.each<[Side, Side]>([
    ['service', 'device'],
    ['device', 'service'],
  ])('after the %s has ended', (first, second) => {
    test('the other goes on while bytes flow, and nothing is answered for it', async () => {
      const pair = await openPair({ device: 'v1', service: 'v1' });
      pair[first].send(rawFrame(2, 'question'), rawClose(1000));
      expect(await data(pair[second])).toBe('question');
      expect(await pair[second].close()).toEqual(CLEAN);
      for (let i = 0; i < 3; i++) {
        await bench.advance(LIMITS.halfCloseMs - 1_000);
        pair[second].send(rawFrame(2, `part ${i}`));
        expect(await data(pair[first])).toBe(`part ${i}`);
      }
      pair[second].send(rawClose(1000));
      expect(await pair[first].close()).toEqual(CLEAN);
      expect(await ended(pair.streamId)).toMatchObject({ cause: `ended_by_${first}`, error: undefined });
    });

    test('silence of the other for the limit is a failure that both see', async () => {
      const pair = await openPair({ device: 'v1', service: 'v1' });
      pair[first].send(rawClose(1000));
      expect(await pair[second].close()).toEqual(CLEAN);
      pair[second].send(rawFrame(2, 'some'));
      expect(await data(pair[first])).toBe('some');
      const text = `The ${first} had ended, and the ${second} sent nothing for 60 s.`;
      // The gateway may not know yet that its own bytes were taken, and then looks again after another limit.
      expect(await whileAdvancing(pair[first].close())).toEqual({ code: 4424, reason: text });
      // Nothing can follow the close frame that it got: its connection ends.
      expect(await pair[second].frame()).toBeUndefined();
      expect(await ended(pair.streamId)).toMatchObject({
        cause: 'half_close_timeout',
        error: 'half_close_timeout',
        detail: text,
      });
    });

    test('what the other says of its own silence has the same cause', async () => {
      const pair = await openPair({ device: 'v1', service: 'v1' });
      pair[first].send(rawClose(1000));
      expect(await pair[second].close()).toEqual(CLEAN);
      pair[second].send(rawClose(4424, 'nothing for 20 s'));
      expect(await pair[first].close()).toEqual({ code: 4424, reason: 'nothing for 20 s' });
      expect(await ended(pair.streamId)).toMatchObject({ cause: 'half_close_timeout' });
    });

    test.each(['end', 'reset'] as const)('its leaving by %s cuts the other at once', async (how) => {
      const pair = await openPair({ device: 'v1', service: 'v1' });
      pair[first].send(rawClose(1000));
      expect(await pair[second].close()).toEqual(CLEAN);
      if (how === 'end') pair[first].socket.end();
      else pair[first].reset();
      expect(await pair[second].frame()).toBeUndefined();
      expect(await ended(pair.streamId)).toMatchObject({ cause: `lost_by_${first}`, error: 'stream_lost' });
    });

    test('the loss of the other is told', async () => {
      const pair = await openPair({ device: 'v1', service: 'v1' });
      pair[first].send(rawClose(1000));
      expect(await pair[second].close()).toEqual(CLEAN);
      pair[second].socket.end();
      expect(await pair[first].close()).toEqual(LOST);
      expect(await ended(pair.streamId)).toMatchObject({ cause: `lost_by_${second}`, error: 'stream_lost' });
    });
  });

  describe('clients that do not know it', () => {
    test('a device that ends by FIN has ended cleanly, after all its bytes', async () => {
      const { streamId, device, service } = await openPair({ device: 'legacy', service: 'v1' });
      device.send(rawFrame(2, 'all'));
      device.socket.end();
      expect(await data(service)).toBe('all');
      expect(await service.close()).toEqual(CLEAN);
      service.send(rawClose(1000));
      expect(await ended(streamId)).toMatchObject({ cause: 'ended_by_device', error: undefined });
    });

    test('one that ends by FIN after the service is answered with 1000 too', async () => {
      const { streamId, device, service } = await openPair({ device: 'legacy', service: 'v1' });
      service.send(rawFrame(2, 'question'), rawClose(1000));
      expect(await device.close()).toEqual(CLEAN);
      device.send(rawFrame(2, 'answer'));
      device.socket.end();
      expect(await data(service)).toBe('answer');
      expect(await service.close()).toEqual(CLEAN);
      expect(await ended(streamId)).toMatchObject({ cause: 'ended_by_service', error: undefined });
    });

    test.each<[string, Client, (device: RawWebSocket) => void]>([
      ['a reset', 'legacy', (device) => device.reset()],
      ['FIN in the middle of a frame', 'legacy', (device) => device.socket.end(rawFrame(2, 'torn').subarray(0, 8))],
      ['FIN of a Culvert client', 'v1', (device) => device.socket.end()],
    ])('%s is a loss', async (_what, client, leave) => {
      const { streamId, device, service } = await openPair({ device: client, service: 'v1' });
      device.send(rawFrame(2, 'some'));
      expect(await data(service)).toBe('some');
      leave(device);
      expect(await service.close()).toEqual(LOST);
      expect(await ended(streamId)).toMatchObject({ cause: 'lost_by_device' });
    });

    test('a service that ends by FIN without being told an end is lost', async () => {
      const { streamId, device, service } = await openPair({ device: 'v1', service: 'legacy' });
      service.socket.end();
      expect(await device.close()).toEqual(LOST);
      expect(await ended(streamId)).toMatchObject({ cause: 'lost_by_service' });
    });

    test('a device that closes as soon as it is told the end, with the question unanswered, is no clean end', async () => {
      const { streamId, device, service } = await openPair({ device: 'legacy', service: 'v1' });
      service.send(rawFrame(2, 'question'), rawClose(1000));
      expect(await device.close()).toEqual(CLEAN);
      device.send(rawClose(1000));
      expect(await service.close()).toEqual(CUT);
      expect(await ended(streamId)).toMatchObject({ cause: 'lost_by_device', error: 'stream_lost' });
    });

    test('one that had answered before is', async () => {
      const { streamId, device, service } = await openPair({ device: 'legacy', service: 'v1' });
      service.send(rawFrame(2, 'question'));
      expect(await data(device)).toBe('question');
      device.send(rawFrame(2, 'answer'));
      expect(await data(service)).toBe('answer');
      service.send(rawClose(1000));
      expect(await device.close()).toEqual(CLEAN);
      device.send(rawClose(1000));
      expect(await service.close()).toEqual(CLEAN);
      expect(await ended(streamId)).toMatchObject({ cause: 'ended_by_service', error: undefined });
    });

    test.each(['close', 'fin'])(
      'a service that is told the end while it sends, and leaves by %s, is cut',
      async (how) => {
        const { streamId, device, service } = await openPair({ device: 'v1', service: 'legacy' });
        device.send(rawClose(1000));
        expect(await service.close()).toEqual(CLEAN);
        service.send(rawFrame(2, 'more'));
        expect(await data(device)).toBe('more');
        if (how === 'close') service.send(rawClose(1000));
        else service.socket.end();
        expect(await device.close()).toEqual(CUT);
        expect(await ended(streamId)).toMatchObject({ cause: 'lost_by_service' });
      },
    );

    test('an answer with the end behind it, for one that has gone, is lost as without it', async () => {
      const { streamId, device, service } = await openPair({ device: 'v1', service: 'legacy' });
      service.send(rawFrame(2, 'question'), rawClose(1000));
      expect(await data(device)).toBe('question');
      expect(await device.close()).toEqual(CLEAN);
      service.reset();
      await new Promise((resolve) => setTimeout(resolve, 200));
      device.send(rawFrame(2, 'answer'), rawClose(1000));
      expect(await ended(streamId)).toMatchObject({ cause: 'lost_by_service', error: 'stream_lost' });
    });

    test('one that leaves by FIN with nothing more to say has ended', async () => {
      const { streamId, device, service } = await openPair({ device: 'v1', service: 'legacy' });
      device.send(rawFrame(2, 'page'), rawClose(1000));
      expect(await data(service)).toBe('page');
      expect(await service.close()).toEqual(CLEAN);
      service.socket.end();
      expect(await device.close()).toEqual(CLEAN);
      expect(await ended(streamId)).toMatchObject({ cause: 'ended_by_device', error: undefined });
    });
  });

  describe('clients that never end', () => {
    test.each<[Side, Side, Client]>([
      ['service', 'device', 'v1'],
      ['service', 'device', 'legacy'],
      ['device', 'service', 'v1'],
      ['device', 'service', 'legacy'],
    ])(
      'of the %s end with 64 empty messages in a row; the %s, %s, is told and may answer',
      async (first, second, client) => {
        const pair = await openPair(
          first === 'device' ? { device: 'legacy', service: client } : { device: client, service: 'legacy' },
        );
        pair[first].send(rawFrame(2, 'all'), empties(10 * EMPTY_MESSAGES));
        expect(await data(pair[second])).toBe('all');
        expect(await pair[second].close()).toEqual(CLEAN);
        if (client === 'v1') {
          pair[second].send(rawFrame(2, 'answer'));
          expect(await data(pair[first])).toBe('answer');
          pair[second].send(rawClose(1000));
        } else {
          pair[second].send(empties(EMPTY_MESSAGES));
        }
        // Both have ended: both are told at once.
        expect(await pair[first].close()).toEqual(CLEAN);
        pair[first].socket.end();
        pair[second].socket.end();
        expect(await whileAdvancing(ended(pair.streamId))).toMatchObject({
          cause: `ended_by_${first}`,
          error: undefined,
        });
      },
    );

    test('go on unheeded, a little at a time, and the connection’s end is seen', async () => {
      const { streamId, device, service } = await openPair({ device: 'v1', service: 'legacy' });
      service.send(empties(EMPTY_MESSAGES));
      expect(await device.close()).toEqual(CLEAN);
      for (let i = 0; i < 20; i++) {
        service.send(empties(1_000));
        await bench.advance(1_000);
      }
      device.send(rawFrame(2, 'still here'));
      expect(await data(service)).toBe('still here');
      service.socket.end();
      expect(await whileAdvancing(ended(streamId))).toMatchObject({ cause: 'lost_by_service' });
    });

    test('break the protocol with data among it', async () => {
      const { streamId, device, service } = await openPair({ device: 'v1', service: 'legacy' });
      service.send(empties(EMPTY_MESSAGES), rawFrame(2, 'late'));
      expect((await service.close())?.code).toBe(1002);
      expect(await device.close()).toEqual(CLEAN);
      expect(await whileAdvancing(ended(streamId))).toMatchObject({ cause: 'protocol_error' });
    });

    test('are not those that send fewer, or over a longer time, or with data between, or know how to end', async () => {
      const { device, service } = await openPair({ device: 'legacy', service: 'v1' });
      device.send(empties(EMPTY_MESSAGES - 1), rawFrame(2, 'a'), empties(EMPTY_MESSAGES - 1), rawFrame(2, 'b'));
      expect([await data(service), await data(service)]).toEqual(['a', 'b']);
      for (let i = 0; i < 3; i++) {
        device.send(empties(EMPTY_MESSAGES / 2), rawFrame(9, ''));
        expect((await device.frame())?.opcode).toBe(10);
        await bench.advance(1_001);
      }
      service.send(empties(2 * EMPTY_MESSAGES), rawFrame(2, 'c'));
      expect(await data(device)).toBe('c');
      device.send(rawFrame(2, 'd'));
      expect(await data(service)).toBe('d');
    });

    test('are charged for each message as for 64 bytes', async () => {
      const { streamId, device, service } = await openPair({ device: 'legacy', service: 'v1' });
      device.send(empties(10), rawFrame(2, Buffer.alloc(100)), rawFrame(2, Buffer.alloc(1)));
      await data(service);
      await data(service);
      expect(bench.gateway.counters(streamId)).toEqual({
        fromService: { bytes: 0, messages: 0 },
        fromDevice: { bytes: 101, messages: 12 },
        countedBytes: 10 * 64 + 100 + 64,
      });
    });
  });
});
