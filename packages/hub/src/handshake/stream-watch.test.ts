import type { StreamCounters } from '@culvert/gateway';
import { FakeClock } from '@culvert/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import type { HubEvent } from '../observe/events.ts';
import type { KnownSession } from '../observe/known-sessions.ts';
import type { StreamRecord } from '../observe/stream-record.ts';
import { DailyUsage } from './daily-usage.ts';
import { StreamWatch, type WatchLimits } from './stream-watch.ts';

const NO_LIMITS: WatchLimits = { idleMs: 0, lifetimeMs: 0, bytesPerStream: 0, bytesPerDevicePerDay: 0 };

let clock: FakeClock;
let counters: Map<string, StreamCounters>;
let sessions: Map<string, KnownSession>;
let ended: [string, string][];
let events: HubEvent[];

beforeEach(() => {
  clock = new FakeClock(Date.UTC(2026, 0, 1, 12));
  counters = new Map();
  sessions = new Map();
  ended = [];
  events = [];
});

function watch(limits: Partial<WatchLimits>, usage?: DailyUsage): StreamWatch {
  return new StreamWatch({
    limits: { ...NO_LIMITS, ...limits },
    counters: (streamId) => counters.get(streamId),
    identityOf: (streamId) => ({ deviceId: `device of ${streamId[0]}` }),
    sessionOf: (streamId) => sessions.get(streamId),
    end: (streamId, { code }) => ended.push([streamId, code]),
    usage,
    clock,
    onEvent: (event) => events.push(event),
  });
}

const carry = (streamId: string, bytes: number) =>
  counters.set(streamId, {
    fromService: { bytes, messages: 1 },
    fromDevice: { bytes: 0, messages: 0 },
    countedBytes: bytes,
  });

const established = (streamId: string): HubEvent => ({
  ...{ type: 'stream-established', streamId },
  ...{ deviceAddress: '192.0.2.1', serviceAddress: '192.0.2.2' },
});

function over(streamId: string, bytes: number): HubEvent {
  const record: StreamRecord = {
    ...{ streamId, streamName: 'x', deviceId: `device of ${streamId[0]}`, caller: '', callerAddress: '' },
    ...{
      traceParent: undefined,
      sessionId: undefined,
      session: undefined,
      gateway: '',
      requestedAt: 0,
      offeredAt: 0,
      answeredAt: 0,
      answeredBy: undefined,
    },
    ...{ establishedAt: 0, serviceAddress: '', deviceAddress: '', endedAt: 0, error: undefined, detail: '' },
    cause: 'ended_by_device',
    fromService: { bytes, messages: 1 },
    fromDevice: { bytes: 0, messages: 0 },
    countedBytes: bytes,
  };
  return { type: 'stream-ended', record };
}

describe('the watch over streams', () => {
  it('looks at nothing where there is no limit, and where there is no stream', async () => {
    const idle = watch({});
    idle.observe(established('a'));
    expect(clock.timers).toBe(0);
    const busy = watch({ idleMs: 1_000 });
    busy.observe(established('a'));
    busy.observe(established('b'));
    // One timer serves both streams.
    expect(clock.timers).toBe(1);
    busy.observe(over('a', 0));
    expect(clock.timers).toBe(1);
    busy.observe(over('b', 0));
    expect(clock.timers).toBe(0);
    busy.observe(established('c'));
    busy.stop();
    expect(clock.timers).toBe(0);
  });

  it('ends a stream once, and tells how near the nearest one is', async () => {
    const watching = watch({ lifetimeMs: 3_000, idleMs: 60_000, bytesPerStream: 100 });
    watching.observe(established('a'));
    await clock.advance(2_000);
    watching.observe(established('b'));
    carry('b', 99);
    await clock.advance(500);
    expect(watching.nearest).toMatchObject({ lifetimeMs: 2_500, idleMs: 2_500, bytesPerDevicePerDay: undefined });
    await clock.advance(500);
    expect([ended, watching.nearest.bytesPerStream]).toEqual([[['a', 'lifetime_ended']], 99]);
    carry('b', 100);
    await clock.advance(1_000);
    expect(ended).toEqual([
      ['a', 'lifetime_ended'],
      ['b', 'quota_reached'],
    ]);
    await clock.advance(5_000);
    expect(ended).toHaveLength(2);
    expect(events).toEqual([
      { type: 'limit-reached', limit: 'lifetimeMs', identity: { deviceId: 'device of a', moduleId: undefined } },
      { type: 'limit-reached', limit: 'bytesPerStream', identity: { deviceId: 'device of b', moduleId: undefined } },
    ]);
    watching.stop();
  });

  it('counts lifetime and bytes over all streams of a session, and ends each that takes it further', async () => {
    const watching = watch({ lifetimeMs: 10_000, bytesPerStream: 100 });
    const of = { key: 'k', sessionId: 's', caller: '', identity: { deviceId: 'd' }, streamId: 'a1' };
    const session = { ...of, establishedAt: clock.now() - 4_000, bytes: 0 };
    for (const streamId of ['a1', 'a2']) {
      sessions.set(streamId, session);
      watching.observe(established(streamId));
    }
    watching.observe(established('raw'));
    carry('a1', 30);
    carry('a2', 30);
    await clock.advance(1_000);
    expect([session.bytes, watching.nearest]).toMatchObject([60, { bytesPerStream: 60, lifetimeMs: 5_000 }]);
    watching.observe(over('a1', 50));
    expect(session.bytes).toBe(80);
    carry('a2', 50);
    await clock.advance(1_000);
    expect(ended).toEqual([['a2', 'quota_reached']]);
    session.bytes = 0;
    sessions.set('a3', session);
    watching.observe(established('a3'));
    await clock.advance(4_000);
    expect(ended).toEqual([
      ['a2', 'quota_reached'],
      ['a3', 'lifetime_ended'],
    ]);
    watching.stop();
  });

  it('counts for the day what was carried, once, also what came after the last look', async () => {
    const store = { load: () => Promise.resolve([]), save: () => Promise.resolve() };
    const usage = await DailyUsage.open({ store, clock, onFailed: () => undefined });
    const watching = watch({ bytesPerDevicePerDay: 1_000 }, usage);
    for (const streamId of ['a1', 'a2', 'b1']) watching.observe(established(streamId));
    carry('a1', 300);
    carry('b1', 999);
    await clock.advance(1_000);
    watching.observe(over('a1', 350));
    expect([usage.of('device of a'), usage.of('device of b')]).toEqual([350, 999]);
    carry('a2', 649);
    await clock.advance(1_000);
    expect(ended).toEqual([]);
    carry('a2', 650);
    await clock.advance(1_000);
    expect(ended).toEqual([['a2', 'quota_reached']]);
    watching.observe(over('a2', 655));
    expect(usage.of('device of a')).toBe(1_005);
    watching.stop();
    await usage.save();
    expect(clock.timers).toBe(0);
  });
});
