import { Backoff } from '@culvert/stream';
import { FakeClock } from '@culvert/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import type { HubEvent } from '../events.ts';
import { LogDelivery, type LogTarget, RetryLater } from './log-delivery.ts';
import { sampleRecord } from './log-entry.fixture.ts';

let clock: FakeClock;
let events: HubEvent[];
let delivered: number[][];
let attempts: number;
/** The target's result for the next batches. */
let answer: () => Promise<number>;
let closed: boolean;

const target: LogTarget = {
  async deliver(batch) {
    attempts++;
    const refused = await answer();
    delivered.push(batch.map(({ sequence }) => sequence));
    return refused;
  },
  async close() {
    closed = true;
  },
};

beforeEach(() => {
  clock = new FakeClock();
  events = [];
  delivered = [];
  attempts = 0;
  closed = false;
  answer = async () => 0;
});

const delivery = (limits: { maxQueued?: number; maxBatch?: number; gatherMs?: number } = {}) =>
  new LogDelivery({
    ...{ name: 'far', target, clock, onEvent: (event) => events.push(event), ...limits },
    backoff: new Backoff({ minMs: 1_000, maxMs: 4_000, random: () => 0.999 }),
  });

const fail = () => Promise.reject(new Error('nobody there'));

describe('a delivery', () => {
  it('brings a turn’s records in one batch, in their order, and tells nobody', async () => {
    const far = delivery({ maxBatch: 3 });
    for (let n = 1; n <= 4; n++) far.push(sampleRecord(n));
    await far.settled();
    expect(delivered).toEqual([[1, 2, 3], [4]]);
    expect([events, far.lost, far.queued]).toEqual([[], 0, 0]);
  });

  it('gathers records for as long as it may, unless the batch is full or somebody waits for them', async () => {
    const far = delivery({ maxBatch: 3, gatherMs: 100 });
    far.push(sampleRecord(1));
    await clock.advance(60);
    far.push(sampleRecord(2));
    await clock.advance(39);
    expect(attempts).toBe(0);
    await clock.advance(1);
    await far.settled();
    expect(delivered).toEqual([[1, 2]]);
    for (let n = 3; n <= 6; n++) far.push(sampleRecord(n));
    await far.settled();
    expect(delivered).toEqual([[1, 2], [3, 4, 5], [6]]);
    far.push(sampleRecord(7));
    await far.close(1_000);
    expect(delivered.at(-1)).toEqual([7]);
    expect(clock.timers).toBe(0);
  });

  it('tries again over an outage, slower and slower, told when it begins and when it is over, and loses nothing', async () => {
    const far = delivery();
    answer = fail;
    far.push(sampleRecord(1));
    await clock.advance(0);
    await clock.advance(0);
    far.push(sampleRecord(2));
    await clock.advance(998);
    expect(attempts).toBe(1);
    await clock.advance(1);
    expect(attempts).toBe(2);
    await clock.advance(1_998);
    expect(attempts).toBe(3);
    expect(events).toEqual([{ type: 'log-failed', sink: 'far', problem: 'nobody there' }]);
    answer = async () => 0;
    await clock.advance(4_000);
    expect(delivered).toEqual([[1, 2]]);
    expect(events.slice(1)).toEqual([{ type: 'log-resumed', sink: 'far', lost: 0 }]);
    expect(clock.timers).toBe(0);
  });

  it('drops what finds the queue full, counts it, and says how many when it works again', async () => {
    const far = delivery({ maxQueued: 4 });
    answer = fail;
    for (let n = 1; n <= 10; n++) far.push(sampleRecord(n));
    await clock.advance(0);
    expect([far.queued, far.lost]).toEqual([4, 6]);
    expect(events.map(({ type }) => type)).toEqual(['log-failed']);
    answer = async () => 0;
    await clock.advance(1_000);
    expect(delivered).toEqual([[1, 2, 3, 4]]);
    expect(events.slice(1)).toEqual([{ type: 'log-resumed', sink: 'far', lost: 6 }]);
    far.push(sampleRecord(11));
    await far.settled();
    expect(delivered.at(-1)).toEqual([11]);
    expect(events.length).toBe(2);
  });

  it('does not offer again what was refused for good, and counts it', async () => {
    const far = delivery({ maxBatch: 2 });
    answer = async () => 1;
    far.push(sampleRecord(1));
    far.push(sampleRecord(2));
    await clock.advance(0);
    answer = async () => 0;
    far.push(sampleRecord(3));
    await far.settled();
    await clock.advance(0);
    expect([delivered, far.lost]).toEqual([[[1, 2], [3]], 1]);
    expect(events.map(({ type }) => type)).toEqual(['log-failed', 'log-resumed']);
  });

  it('waits as long as the target asks', async () => {
    const far = delivery();
    answer = () => Promise.reject(new RetryLater('slow down', 20_000));
    far.push(sampleRecord(1));
    await clock.advance(0);
    await clock.advance(19_999);
    expect(attempts).toBe(1);
    answer = async () => 0;
    await clock.advance(1);
    expect(delivered).toEqual([[1]]);
  });

  it('is settled when what was pushed before is there, whatever is pushed meanwhile', async () => {
    const far = delivery({ maxBatch: 1 });
    let sequence = 1;
    far.push(sampleRecord(sequence));
    const settled = far.settled();
    // Each delivery pushes one more record.
    answer = async () => {
      if (sequence < 1_000) far.push(sampleRecord(++sequence));
      return 0;
    };
    await settled;
    expect(delivered.length).toBeLessThan(5);
    await far.close(1_000);
  });

  it('does not wait for a target that hangs, neither to take nor to close', async () => {
    const hanging: LogTarget = {
      deliver: () => new Promise(() => undefined),
      close: () => new Promise(() => undefined),
    };
    const far = new LogDelivery({ name: 'far', target: hanging, clock, onEvent: (event) => events.push(event) });
    far.push(sampleRecord(1));
    await clock.advance(0);
    const closed = far.close(5_000);
    await clock.advance(5_000);
    await clock.advance(1_000);
    await closed;
    expect([far.lost, clock.timers]).toEqual([1, 0]);
  });

  it('brings away what waits when it is closed, but not forever', async () => {
    const good = delivery();
    good.push(sampleRecord(1));
    await good.close(5_000);
    expect([delivered, closed]).toEqual([[[1]], true]);

    const far = delivery();
    answer = () => new Promise((_, reject) => clock.setTimer(10_000, () => reject(new Error('late'))));
    far.push(sampleRecord(2));
    far.push(sampleRecord(3));
    const over = far.close(5_000);
    await clock.advance(10_000);
    await over;
    expect(far.lost).toBe(2);
    expect(events.at(-1)).toEqual({
      ...{ type: 'log-failed', sink: 'far' },
      problem: 'The hub stopped before it took 2 records.',
    });
    far.push(sampleRecord(4));
    expect(far.lost).toBe(3);
    expect(clock.timers).toBe(0);
  });
});
