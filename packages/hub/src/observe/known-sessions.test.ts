import { FakeClock } from '@culvert/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import { ended } from './audit/audit-log.fixture.ts';
import { KnownSessions, MAX_DETACHED_SESSIONS, SESSION_MEMORY_MS } from './known-sessions.ts';
import type { LiveStream, StreamRecord } from './stream-record.ts';

let clock: FakeClock;
let live: Map<string, LiveStream>;
let known: KnownSessions;

beforeEach(() => {
  clock = new FakeClock();
  live = new Map();
  known = new KnownSessions({ streams: { get: (id) => live.get(id) }, now: () => clock.now() });
});

function recordOf(streamId: string, sessionId: string | undefined, over: Partial<StreamRecord> = {}): StreamRecord {
  return ended(streamId, { sessionId, session: { version: 1, encrypted: true }, ...over }).record;
}

function establish(streamId: string, sessionId: string | undefined, over: Partial<StreamRecord> = {}): LiveStream {
  const stream = recordOf(streamId, sessionId, over);
  live.set(streamId, stream);
  known.observe({ type: 'stream-established', streamId, deviceAddress: 'a', serviceAddress: 'b' });
  return stream;
}

function end(streamId: string): void {
  known.observe({ type: 'stream-ended', record: live.get(streamId) as StreamRecord });
  live.delete(streamId);
}

describe('the sessions that a hub knows', () => {
  it('are the same over all their streams, also after a time without one', async () => {
    const first = establish('1', 's');
    const session = known.of(first);
    expect(session).toMatchObject({ sessionId: 's', establishedAt: clock.now(), bytes: 0 });
    await clock.advance(1_000);
    expect(known.of(establish('2', 's'))).toBe(session);
    end('1');
    await clock.advance(2 * SESSION_MEMORY_MS);
    expect(known.of(establish('3', 's'))).toBe(session);
    end('2');
    end('3');
    await clock.advance(SESSION_MEMORY_MS - 1);
    expect(known.of(establish('4', 's'))).toBe(session);
    end('4');
    await clock.advance(SESSION_MEMORY_MS);
    expect(known.of(first)).toBeUndefined();
    expect(known.size).toBe(0);
  });

  it('are one for each caller, device and module; raw streams have none', () => {
    const streams = [
      establish('1', 's'),
      establish('2', 's', { caller: 'policy:other' }),
      establish('3', 's', { deviceId: 'other' }),
      establish('4', 's', { moduleId: 'm' }),
    ];
    expect(new Set(streams.map((stream) => known.of(stream))).size).toBe(4);
    for (const raw of [establish('5', undefined), establish('6', 's', { session: undefined })])
      expect(known.of(raw)).toBeUndefined();
    expect(known.size).toBe(4);
  });

  it('are bounded: the one that has been without a stream for the longest time is forgotten', () => {
    const attached = establish('attached', 'attached');
    const streams = Array.from({ length: MAX_DETACHED_SESSIONS + 1 }, (_, index) => establish(`${index}`, `s${index}`));
    for (const { streamId } of streams) end(streamId);
    expect(known.size).toBe(MAX_DETACHED_SESSIONS + 1);
    expect(known.of(streams[0])).toBeUndefined();
    expect(known.of(streams[1])).toBeDefined();
    expect(known.of(attached)).toBeDefined();
  });
});
