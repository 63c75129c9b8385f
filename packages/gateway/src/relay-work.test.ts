import { Socket } from 'node:net';
import { setImmediate as nextIteration } from 'node:timers/promises';
import { type RawWebSocket, rawFrame, startGateway, type TestGateway } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { BufferPool } from './buffer-pool.ts';
import { openPair } from './pair.fixture.ts';

const MIB = 1_048_576;
const MOVED_MIB = 32;
const POOLED_BUFFER_BYTES = 196_608;

let bench: TestGateway;
const open: RawWebSocket[] = [];
beforeEach(async () => {
  bench = await startGateway();
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const client of open.splice(0)) client.socket.destroy();
  await bench.stop();
});

/** Counts writes to any socket but the clients', pooled buffers that are taken, and buffers that are made, all from now on. */
function countWork() {
  const clients = new Set<unknown>(open.map(({ socket }) => socket));
  const writes = (['_write', '_writev'] as const).map((method) => vi.spyOn(Socket.prototype, method));
  const buffers = (['from', 'alloc', 'allocUnsafe', 'allocUnsafeSlow', 'concat'] as const).map((maker) =>
    vi.spyOn(Buffer, maker),
  );
  const pooled = vi.spyOn(BufferPool.prototype, 'take');
  return {
    get writes(): number {
      return writes.flatMap(({ mock }) => mock.contexts.filter((socket) => !clients.has(socket))).length;
    },
    get buffers(): number {
      return buffers.reduce((sum, { mock }) => sum + mock.calls.length, 0);
    },
    get pooled(): number {
      return pooled.mock.calls.length;
    },
  };
}

describe('a MiB through the relay', () => {
  // One write for each TLS record would be 64.
  test.each([64, 1_024, 16_376, 65_536])('of frames of %i bytes takes few writes, and no new buffer', async (size) => {
    const { device, service } = await openPair(bench, open);
    const count = Math.ceil(MIB / size);
    const block = Buffer.concat(Array.from({ length: count }, () => rawFrame(2, Buffer.alloc(size, 7))));
    const total = MOVED_MIB * count * (size + (size < 126 ? 2 : size < 65_536 ? 4 : 10));
    const work = countWork();
    let received = 0;
    let sent = 0;
    await new Promise<void>((resolve) => {
      device.socket.on('data', (chunk: Buffer) => {
        received += chunk.length;
        if (received === total) resolve();
      });
      const pour = (): void => {
        while (sent < MOVED_MIB) {
          sent++;
          if (!service.socket.write(block)) return;
        }
      };
      service.socket.on('drain', pour);
      pour();
    });
    expect(received).toBe(total);
    expect(work.writes).toBeGreaterThan(0);
    expect(work.writes / MOVED_MIB).toBeLessThanOrEqual(24);
    expect(work.pooled).toBeLessThanOrEqual(2 * work.writes);
    // For the beginning of a frame that was left over, when its pooled buffer was asked for: however many frames there were.
    expect(work.buffers).toBeLessThanOrEqual(16);
  });
});

test('for a reader that does not read, two pooled buffers are held at most, and nothing is read for it any more', async () => {
  const { device, service } = await openPair(bench, open);
  device.socket.pause();
  const block = Buffer.concat(Array.from({ length: 16 }, () => rawFrame(2, Buffer.alloc(65_536))));
  service.socket.on('drain', () => service.socket.write(block));
  service.socket.write(block);
  let held = 0;
  for (let turnsAlike = 0; turnsAlike < 50; ) {
    await nextIteration();
    turnsAlike = held > 0 && bench.bufferedBytes === held ? turnsAlike + 1 : 0;
    held = bench.bufferedBytes;
  }
  expect(held).toBeLessThanOrEqual(2 * POOLED_BUFFER_BYTES);
});
