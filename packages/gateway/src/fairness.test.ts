import { type RawWebSocket, rawFrame, startGateway, type TestGateway } from '@culvert/testkit';
import { afterEach, describe, expect, test } from 'vitest';
import { openPair } from './pair.fixture.ts';
import { ITERATION_BYTES } from './read-scheduler.ts';

const FLOODS = 8;
const PINGS = 60;
/** What a stream brings in one read: libuv's 64 KiB, and what was left of a TLS record before. */
const READ_BYTES = 81_920;

let bench: TestGateway;
const open: RawWebSocket[] = [];
afterEach(async () => {
  for (const client of open.splice(0)) client.socket.destroy();
  await bench.stop();
});

/** Fills a stream for as long as it lasts, in frames of 1 KiB. */
async function flood() {
  const { streamId, device, service } = await openPair(bench, open);
  const block = Buffer.concat(Array.from({ length: 512 }, () => rawFrame(2, Buffer.alloc(1_024))));
  const pour = (): void => {
    while (service.socket.write(block));
  };
  service.socket.on('drain', pour);
  device.socket.resume();
  return { moved: () => bench.gateway.counters(streamId)?.fromService.bytes ?? 0, pour };
}

describe.each([
  ['read into the frame memory', false],
  ['plain', true],
])('%s', (_how, plain) => {
  test('eight floods do not hold up a small frame: few bytes of theirs pass before it, and few iterations', async () => {
    bench = await startGateway({ plain });
    const quiet = await openPair(bench, open);
    const floods: Awaited<ReturnType<typeof flood>>[] = [];
    for (let i = 0; i < FLOODS; i++) floods.push(await flood());
    const moved = (): number => floods.reduce((sum, one) => sum + one.moved(), 0);

    const perIteration: number[] = [];
    let before = 0;
    const count = (): void => {
      const now = moved();
      perIteration.push(now - before);
      before = now;
      sampling = setImmediate(count);
    };
    let sampling = setImmediate(count);

    quiet.device.socket.on('data', () => quiet.device.socket.write(rawFrame(2, 'pong')));
    const beside: number[] = [];
    const iterations: number[] = [];
    const ping = (): Promise<void> => {
      const bytesBefore = moved();
      const iterationsBefore = perIteration.length;
      const answered = new Promise<void>((resolve) => {
        quiet.service.socket.once('data', () => {
          beside.push(moved() - bytesBefore);
          iterations.push(perIteration.length - iterationsBefore);
          resolve();
        });
      });
      quiet.service.socket.write(rawFrame(2, 'ping'));
      return answered;
    };
    for (const one of floods) one.pour();
    while (floods.some((one) => one.moved() < 1_048_576)) await ping();
    perIteration.length = beside.length = iterations.length = 0;
    for (let i = 0; i < PINGS; i++) await ping();
    clearImmediate(sampling);

    const middle = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
    // All of it flows the while: the floods had what there is of the iterations.
    expect(perIteration.reduce((sum, bytes) => sum + bytes, 0)).toBeGreaterThan(PINGS * ITERATION_BYTES);
    // Without shares it is 320 KiB of each flood.
    expect(middle(perIteration)).toBeLessThanOrEqual(2 * READ_BYTES);
    expect(Math.max(...perIteration)).toBeLessThanOrEqual(FLOODS * READ_BYTES);
    // There and back: one each way in the gateway, and those of the clients, which are read in this same loop.
    expect(middle(iterations)).toBeLessThanOrEqual(6);
    expect(middle(beside)).toBeLessThanOrEqual(6 * 2 * READ_BYTES);
  });
});
