import { Duplex } from 'node:stream';
import { FakeClock } from '@culvert/testkit';
import { describe, expect, it } from 'vitest';
import { FrameWriter } from './frame-writer.ts';
import { Heartbeat } from './heartbeat.ts';

const INTERVAL_MS = 25_000;

function beating(ping: (frame: Buffer, sent: () => void) => void) {
  const clock = new FakeClock();
  let lost = 0;
  const heartbeat = new Heartbeat(clock, INTERVAL_MS, { ping, lost: () => lost++ });
  heartbeat.start();
  return { clock, heartbeat, lost: () => lost };
}

describe('a heartbeat', () => {
  it('gives a client up after two pings that it was sent and did not answer', async () => {
    const { clock, lost } = beating((_frame, sent) => sent());
    await clock.advance(3 * INTERVAL_MS - 1);
    expect(lost()).toBe(0);
    await clock.advance(1);
    expect([lost(), clock.timers]).toEqual([1, 0]);
  });

  it('blames nobody for a ping that could not be sent', async () => {
    const { clock, heartbeat, lost } = beating(() => undefined);
    await clock.advance(20 * INTERVAL_MS);
    expect(lost()).toBe(0);
    heartbeat.stop();
    expect(clock.timers).toBe(0);
  });
});

describe('a ping to a socket that is full', () => {
  it('goes out when the socket drains, between two frames', async () => {
    const written: Buffer[] = [];
    let finish: (() => void) | undefined;
    const socket = new Duplex({
      writableHighWaterMark: 10,
      read: () => undefined,
      write: (chunk: Buffer, _encoding, callback) => {
        written.push(chunk);
        finish = callback;
      },
    });
    const listener = { full: () => undefined, drained: () => undefined, stalled: () => undefined };
    const writer = new FrameWriter(socket, listener, { clock: new FakeClock(), stallMs: 300_000 });
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    writer.write(Buffer.alloc(20, 1));
    await turn();
    expect(writer.full).toBe(true);
    let sent = 0;
    writer.ping(Buffer.from([0x89, 0]), () => sent++);
    await turn();
    expect([sent, written.length]).toEqual([0, 1]);
    finish?.();
    await turn();
    await turn();
    expect([sent, written[1]]).toEqual([1, Buffer.from([0x89, 0])]);
    writer.destroy();
    socket.destroy();
  });
});
