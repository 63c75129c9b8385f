import { once } from 'node:events';
import { newStreamId, type Side } from '@culvert/protocol';
import {
  FakeClock,
  RawWebSocket,
  rawFrame,
  startGateway,
  type TestGateway,
  type TestGatewayOptions,
} from '@culvert/testkit';
import { afterEach, describe, expect, test } from 'vitest';
import { BufferPool } from './buffer-pool.ts';

/** What one stream may keep, both directions and Node's own socket buffers included, in bytes. */
const BOUND = 1_048_576;
const MIB = 1_048_576;

let bench: TestGateway;
const open: RawWebSocket[] = [];
afterEach(async () => {
  for (const client of open.splice(0)) client.socket.destroy();
  await bench.stop();
  expect([bench.gateway.waitingConnections, bench.gateway.streams]).toEqual([0, 0]);
  expect(BufferPool.ofThread?.taken).toBe(0);
});

async function openPair() {
  const streamId = newStreamId();
  const arrive = async (side: Side): Promise<RawWebSocket> => {
    const client = await RawWebSocket.open(await bench.grant(streamId, side), { ca: bench.ca });
    open.push(client);
    return client;
  };
  const device = await arrive('device');
  const service = await arrive('service');
  return { streamId, device, service };
}

/** Writes `chunk` again and again until `count` were taken, or until the gateway takes no more for a while. */
async function pour(
  client: RawWebSocket,
  chunk: Buffer,
  count: number,
  watch: () => void,
  patienceMs = 400,
): Promise<number> {
  for (let i = 0; i < count; i++) {
    watch();
    if (client.socket.write(chunk)) continue;
    const taken = await Promise.race([
      once(client.socket, 'drain').then(() => true),
      new Promise<boolean>((resolve) => setTimeout(resolve, patienceMs, false)),
    ]);
    if (!taken) return i;
  }
  return count;
}

describe.each<[string, Omit<TestGatewayOptions, 'clock'>]>([
  ['read into the frame memory', {}],
  ['plain', { plain: true }],
  ['handed from thread to thread', { threads: 'divided' }],
])('%s', (_how, how) => {
  test('a frame that declares 1 GiB passes a slow reader in bounded memory, as fragments of 64 KiB', async () => {
    bench = await startGateway(how);
    const { device, service } = await openPair();
    let most = 0;
    const watch = (): void => {
      most = Math.max(most, bench.bufferedBytes);
    };
    service.send(rawFrame(2, '', { declare: 1_024 * MIB, mask: Buffer.from([1, 2, 3, 4]) }));
    service.socket.removeAllListeners('data');
    device.socket.removeAllListeners('data');
    let received = 0;
    let first: Buffer | undefined;
    device.socket.on('data', (chunk: Buffer) => {
      watch();
      first ??= chunk;
      received += chunk.length;
      // Slow: a rest after every MiB or so.
      if (received % MIB >= chunk.length) return;
      device.socket.pause();
      setTimeout(() => device.socket.resume(), 5);
    });
    const sent = await pour(service, Buffer.alloc(MIB / 4, 7), 4 * 64, watch, 10_000);
    expect(sent).toBe(4 * 64);
    const expected = 1_024 * (65_536 + 10);
    while (received < expected) await new Promise((resolve) => setTimeout(resolve, 5));
    // Not FIN, binary, an eight-byte length of 65,536.
    expect(first?.subarray(0, 10).toString('hex')).toBe('027f0000000000010000');
    expect(received).toBe(expected);
    expect(most).toBeLessThan(BOUND);
  });

  test.each<[string, Buffer]>([
    ['64 KiB frames', rawFrame(2, Buffer.alloc(65_536))],
    ['1-byte frames', Buffer.concat(Array.from({ length: 4_000 }, () => rawFrame(2, 'x')))],
  ])(
    'a flood of %s to a peer that never reads stops at the bound, and ends as stalled',
    async (_, chunk) => {
      const clock = new FakeClock(Date.now());
      bench = await startGateway({ ...how, clock });
      const { streamId, device, service } = await openPair();
      device.socket.pause();
      let most = 0;
      const before = process.memoryUsage().arrayBuffers;
      const sent = await pour(service, chunk, (200 * MIB) / chunk.length, () => {
        most = Math.max(most, bench.bufferedBytes);
      });
      expect(sent * chunk.length).toBeLessThan(150 * MIB);
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * MIB);
      await bench.advance(300_000);
      await bench.advance(300_000);
      expect(await service.close()).toMatchObject({ code: 4411 });
      expect(await bench.event('stream-closed', streamId)).toMatchObject({ cause: 'stalled' });
      expect(most).toBeLessThan(BOUND);
    },
    15_000,
  );

  test('a flood of pings from a client that never reads its answers stays in bounds', async () => {
    bench = await startGateway(how);
    const { device } = await openPair();
    device.socket.pause();
    const pings = Buffer.concat(Array.from({ length: 500 }, () => rawFrame(9, Buffer.alloc(125))));
    let most = 0;
    await pour(device, pings, (32 * MIB) / pings.length, () => {
      most = Math.max(most, bench.bufferedBytes);
    });
    expect(most).toBeLessThan(BOUND);
  });

  test('tiny frames that each come in a chunk full of pings do not keep those chunks alive', async () => {
    bench = await startGateway(how);
    const { device, service } = await openPair();
    device.socket.pause();
    const pings = Array.from({ length: 120 }, () => rawFrame(9, Buffer.alloc(125)));
    const chunk = Buffer.concat([rawFrame(2, 'x'), ...pings]);
    let most = 0;
    await pour(service, chunk, (32 * MIB) / chunk.length, () => {
      most = Math.max(most, bench.bufferedBytes);
    });
    expect(most).toBeLessThan(BOUND);
  });
});
