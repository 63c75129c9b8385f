import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeClock } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HubEvent } from '../events.ts';
import { sampleRecord } from '../resource-log/log-entry.fixture.ts';
import { type LogFollowing, LogStore } from './log-store.ts';
import type { Followed } from './log-subscribers.ts';
import { LogThread } from './log-thread.ts';

let directory: string;
let clock: FakeClock;
let events: HubEvent[];
let store: LogStore;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-log-'));
  clock = new FakeClock(Date.UTC(2026, 0, 1));
  events = [];
  store = new LogStore({
    ...{ directory: join(directory, 'logs'), retention: { days: 30, maxBytes: 2 ** 30 } },
    ...{ clock, onEvent: (event) => events.push(event) },
  });
});
afterEach(async () => {
  await store.close();
  expect(clock.timers).toBe(0);
  rmSync(directory, { recursive: true });
});

const push = (...sequences: number[]) => {
  for (const sequence of sequences) store.push(sampleRecord(sequence));
};
const sequence = (followed: Followed | undefined) => {
  if (followed?.kind === 'dropped') return -followed.count;
  return followed?.record.sequence;
};
/** The sequence numbers of the next `count` items that a subscriber receives; a negative number is a number of skipped records. */
async function received(following: LogFollowing, count: number): Promise<(number | undefined)[]> {
  const iterator = following[Symbol.asyncIterator]();
  const seen: (number | undefined)[] = [];
  while (seen.length < count) {
    const { value, done } = await iterator.next();
    if (done === true) break;
    seen.push(sequence(value));
  }
  return seen;
}

describe('the store', () => {
  it('finds what was pushed just before it was asked', async () => {
    push(1, 2, 3);
    const { records, next } = await store.list({ order: 'newest', top: 2 });
    expect(records.map((record) => record.sequence)).toEqual([3, 2]);
    expect(JSON.parse(records[0]?.json ?? '')).toMatchObject({ operationName: 'invoke', resourceId: 'hub.example' });
    expect((await store.list({ order: 'newest', top: 2, after: next })).records).toMatchObject([{ sequence: 1 }]);
    expect([store.lost, events]).toEqual([0, []]);
  });

  it('keeps what was pushed before it was closed', async () => {
    push(...Array.from({ length: 3_000 }, (_, n) => n));
    await store.close();
    const again = new LogStore({
      ...{ directory: join(directory, 'logs'), retention: { days: 30, maxBytes: 2 ** 30 } },
      ...{ clock, onEvent: () => undefined },
    });
    const { records } = await again.list({ order: 'newest', top: 5_000 });
    expect(records.length).toBe(3_000);
    await again.close();
  });

  it('looks for what has grown too old every hour', async () => {
    push(1);
    await store.list({ order: 'newest', top: 1 });
    await clock.advance(31 * 86_400_000 + 3_600_000);
    expect((await store.list({ order: 'newest', top: 1 })).records).toEqual([]);
  });
});

describe('a subscriber', () => {
  it('is told what comes and what it asked for', async () => {
    push(1);
    const following = store.follow({ streamId: '3'.padStart(32, '0') });
    const seen = received(following, 1);
    push(2, 3, 4);
    expect(await seen).toEqual([3]);
    following.close();
  });

  it('who names a time or the last record is told what came since, each record once', async () => {
    push(1, 2, 3);
    await store.list({ order: 'newest', top: 1 });
    await clock.advance(10);
    const since = store.follow({ since: clock.now() - 8 });
    const after = store.follow({}, { time: Date.UTC(2026, 0, 1) + 1, sequence: 1 });
    for (const following of [since, after]) {
      const seen = received(following, 4);
      // These records arrive while the earlier ones are being read.
      if (following === since) push(20, 21);
      expect(await seen).toEqual([2, 3, 20, 21]);
      following.close();
    }
  });

  it('who does not take them keeps a thousand, and is told how many it missed', async () => {
    const following = store.follow({});
    push(...Array.from({ length: 1_500 }, (_, n) => n + 1));
    const seen = await received(following, 1_001);
    expect([seen[0], seen[999], seen[1_000]]).toEqual([1, 1_000, -500]);
  });

  it('is one of 64, and makes room when it goes', async () => {
    const all = Array.from({ length: 64 }, () => store.follow({}));
    expect(() => store.follow({})).toThrow('64 follow the log already.');
    all[0]?.close();
    store.follow({}).close();
    const over = Promise.all(all.map((following) => received(following, 1)));
    store.endFollowing();
    expect(new Set((await over).flat())).toEqual(new Set());
  });
});

describe('the log’s thread', () => {
  it('that dies fails what waits, and is there again for the next', async () => {
    const file = join(directory, 'worker.mjs');
    const text = `import { parentPort } from 'node:worker_threads';
      parentPort.on('message', (message) => {
        if ('query' in message) throw new Error('out of memory');
        if ('append' in message) parentPort.postMessage({ appended: true });
        if ('close' in message) process.exit(0);
      });`;
    const url = new URL(`data:text/javascript,${encodeURIComponent(text)}`);
    const thread = new LogThread({ directory: file, retention: { days: 1, maxBytes: 1 } }, () => 0, url);
    const query = { order: 'newest', top: 1 } as const;
    await expect(thread.query(query)).rejects.toMatchObject({
      ...{ code: 'internal', message: expect.stringContaining('out of memory') },
    });
    expect(await thread.deliver([sampleRecord(1)])).toBe(0);
    await thread.close();
  });

  it('takes 64 questions at once', async () => {
    const thread = new LogThread({ directory, retention: { days: 1, maxBytes: 2 ** 24 } }, () => clock.now());
    const asked = Array.from({ length: 65 }, () => thread.query({ order: 'newest', top: 1 }));
    const answers = await Promise.allSettled(asked);
    expect(answers.map(({ status }) => status).filter((status) => status === 'rejected').length).toBe(1);
    await thread.close();
  });
});
