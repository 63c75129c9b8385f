import { FakeClock } from '@culvert/testkit';
import { describe, expect, it } from 'vitest';
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
