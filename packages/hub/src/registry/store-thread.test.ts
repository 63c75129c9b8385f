import { systemClock } from '@culvert/stream';
import { FakeClock } from '@culvert/testkit';
import { describe, expect, it } from 'vitest';
import { StoreThread } from './store-thread.ts';

const START = { directory: '/nowhere', policies: [] };

/** The URL of a worker that reports an opened database and then runs `onMessage` for each message. */
function worker(onMessage: string): URL {
  const text = `import { parentPort } from 'node:worker_threads';
    parentPort.on('message', (message) => { ${onMessage} });
    parentPort.postMessage({ opened: { ok: true } });`;
  return new URL(`data:text/javascript,${encodeURIComponent(text)}`);
}

const get = (thread: StoreThread) => thread.call({ name: 'identity.get', input: { deviceId: 'd' } });

describe("the store's thread", () => {
  it('that dies fails what waits, tells the hub, and is not asked again', async () => {
    const thread = await StoreThread.start(START, systemClock, worker("throw new Error('out of memory')"));
    const calls = await Promise.allSettled([get(thread), get(thread)]);
    expect(calls.map((call) => call.status === 'rejected' && call.reason.code)).toEqual(['internal', 'internal']);
    expect(await thread.failed).toMatchObject({ code: 'internal', message: expect.stringContaining('out of memory') });
    await expect(get(thread)).rejects.toMatchObject({ code: 'internal' });
    await thread.close();
  });

  it('that leaves is a failure too', async () => {
    const thread = await StoreThread.start(START, systemClock, worker('process.exit(0)'));
    await expect(get(thread)).rejects.toMatchObject({ code: 'internal', message: expect.stringContaining('ended') });
    await thread.close();
  });

  it('that cannot even be loaded is a failure of the start', async () => {
    const missing = new URL('./no-such-worker.ts', import.meta.url);
    await expect(StoreThread.start(START, systemClock, missing)).rejects.toMatchObject({ code: 'internal' });
  });

  it('that hangs is ended when the hub stops, and what waits is told', async () => {
    const clock = new FakeClock();
    const thread = await StoreThread.start(START, clock, worker(''));
    const waiting = expect(get(thread)).rejects.toMatchObject({ code: 'draining' });
    const closed = thread.close();
    await clock.advance(10_000);
    await closed;
    await waiting;
    expect(clock.timers).toBe(0);
  });

  it('gets everything asked in one event-loop iteration as one batch, and the next batch when that is done', async () => {
    const sizes = `if (message.close) process.exit(); else parentPort.postMessage({ results: message.batch.map(() => ({ ok: true, value: message.batch.length })) });`;
    const thread = await StoreThread.start(START, systemClock, worker(sizes));
    expect(await Promise.all([get(thread), get(thread), get(thread)])).toEqual([3, 3, 3]);
    const many = await Promise.all(Array.from({ length: 1_001 }, () => get(thread)));
    expect([many[0], many.at(-1)]).toEqual([1_000, 1]);
    await thread.close();
  });
});
