import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CulvertError } from '@culvert/protocol';
import { FakeClock } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Principal } from '../../auth/principal.ts';
import type { Subscriber } from './subscriber.ts';
import { Subscribers } from './subscribers.ts';

let clock: FakeClock;
let subscribers: Subscribers;
let gone: number;
let lastResponse: ServerResponse;
const cleanups: (() => unknown)[] = [];

beforeEach(() => {
  clock = new FakeClock();
  subscribers = new Subscribers(clock);
  gone = 0;
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  expect([subscribers.size, clock.timers]).toEqual([0, 0]);
});

const principal = (expiresAt = Number.MAX_SAFE_INTEGER): Principal => ({
  name: 'policy:monitor',
  permissions: new Set(['MonitorRead']),
  identity: undefined,
  proof: { kind: 'key', owner: { kind: 'policy', policy: 'monitor' }, keyDigest: '00' },
  expiresAt,
});

/** A subscriber and the response that its client receives. */
async function follow(expiresAt?: number): Promise<{ subscriber: Subscriber; answer: IncomingMessage }> {
  const server = createServer().listen(0, '127.0.0.1');
  cleanups.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  await once(server, 'listening');
  const request = get({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, agent: false });
  const [, response] = (await once(server, 'request')) as [IncomingMessage, ServerResponse];
  lastResponse = response;
  const subscriber = subscribers.add(response, principal(expiresAt), () => gone++);
  const [answer] = (await once(request, 'response')) as [IncomingMessage];
  answer.on('error', () => undefined);
  return { subscriber, answer: answer.setEncoding('utf8') };
}

async function rest(answer: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of answer as AsyncIterable<string>) text += chunk;
  return text;
}

describe('a subscriber', () => {
  it('gets events as they are written for browsers, and a comment every 15 seconds', async () => {
    const { subscriber, answer } = await follow();
    expect(answer.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
    });
    subscribers.send(subscriber, { event: 'stream', data: { name: 'a\nb' } });
    await clock.advance(30_000);
    subscriber.cut(new CulvertError('draining'));
    expect(await rest(answer)).toBe(
      'event: stream\ndata: {"name":"a\\nb"}\n\n:\n\n:\n\n' +
        'event: cut\ndata: {"code":"draining","detail":"The hub is shutting down; try again."}\n\n',
    );
    expect(gone).toBe(1);
  });

  it('that does not read is cut with a last event that says so, and holds no more than a mebibyte', async () => {
    const { subscriber, answer } = await follow();
    const data = 'x'.repeat(10_000);
    let sent = 0;
    // The kernel buffers some megabytes before data is queued in the process.
    for (; subscriber.following; sent++) {
      subscribers.send(subscriber, { event: 'counters', data });
      if (sent % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(sent).toBeLessThan(5_000);
    const text = await rest(answer);
    expect(text.slice(-150)).toMatch(
      /\n\nevent: cut\ndata: \{"code":"stalled","detail":"This subscriber is too slow.*\}\n\n$/,
    );
    expect(text.match(/event: counters/g)).toHaveLength(sent);
  });

  it('that does not even read that is disconnected after ten seconds', async () => {
    const { subscriber } = await follow();
    const data = 'x'.repeat(100_000);
    while (subscriber.following) {
      subscribers.send(subscriber, { event: 'counters', data });
      // Let the kernel take data until its buffers are full.
      await new Promise((resolve) => setImmediate(resolve));
    }
    await clock.advance(9_999);
    expect(gone).toBe(0);
    await clock.advance(1);
    await expect.poll(() => gone).toBe(1);
  });

  it('is sent what there is at its own pace, however much it is', async () => {
    const { subscriber, answer } = await follow();
    const notices = Array.from({ length: 5_000 }, (_, count) =>
      count % 2 === 0 ? { event: 'stream', data: { count, more: 'x'.repeat(1_000) } } : undefined,
    );
    const sent = subscriber.sendAll(notices).then(() => subscriber.cut(new CulvertError('draining')));
    expect((await rest(answer)).match(/event: stream/g)).toHaveLength(2_500);
    await sent;
  });

  it('that left before it could follow leaves nothing behind', async () => {
    const { subscriber, answer } = await follow();
    answer.destroy();
    await expect.poll(() => gone).toBe(1);
    subscribers.send(subscriber, { event: 'stream', data: {} });
    subscriber.cut(new CulvertError('draining'));
    const late = subscribers.add(lastResponse, principal(), () => gone++);
    expect(late.following).toBe(false);
    await expect.poll(() => gone).toBe(2);
  });

  it('is cut when its token expires', async () => {
    const { answer } = await follow(clock.now() + 1_000);
    await clock.advance(1_000);
    expect(await rest(answer)).toContain('"code":"token_expired"');
  });

  it('has a place among a bounded number, and none once the hub stops', async () => {
    const all = await Promise.all(Array.from({ length: 32 }, () => follow()));
    expect(() => subscribers.assertPlace()).toThrow(expect.objectContaining({ code: 'too_many_requests' }));
    all[0]?.answer.destroy();
    await expect.poll(() => subscribers.size).toBe(31);
    subscribers.assertPlace();
    for (const { answer } of all.slice(1)) answer.resume();
    await subscribers.close(new CulvertError('draining'));
    expect(() => subscribers.assertPlace()).toThrow(expect.objectContaining({ code: 'draining' }));
  });
});
