import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConnectProxy, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failure, roundTrip, SessionEnds } from './session-ends.fixture.ts';

let hub: TestHub;
let ends: SessionEnds;
let proxy: ConnectProxy;

beforeEach(async () => {
  hub = await startHub();
  proxy = await ConnectProxy.start();
  ends = new SessionEnds(hub);
});
afterEach(async () => {
  await ends.stop();
  await proxy.stop();
  await hub.stop();
});

describe('a client that was closed', () => {
  it('keeps its connections, also over a lost link, and refuses everything else', async () => {
    await ends.device();
    const service = await ends.service({ outbound: { ca: hub.ca, proxy: proxy.url } });
    const stream = await service.openStream('d', { name: 'ssh' });
    await roundTrip(stream);
    service.close();
    expect(await roundTrip(stream, 'after close')).toBe('after close');
    const regained = once(stream, 'linkRegained');
    proxy.cut();
    await regained;
    expect(await roundTrip(stream, 'after a loss')).toBe('after a loss');
    const session = { id: 'cd'.repeat(16), lowest: 1, highest: 1, encrypted: false };
    for (const refused of [
      service.openStream('d', { name: 'ssh' }),
      service.openSessionStream('d', { name: 'ssh', session }),
      service.devices.get('d'),
    ])
      await expect(refused).rejects.toMatchObject({ code: 'aborted' });
    stream.end();
    await once(stream.resume(), 'end');
    await expect.poll(() => ends.serviceEvents.at(-1)).toMatchObject({ type: 'session-ended', reason: 'done' });
    await expect.poll(() => ends.deviceEvents.at(-1)).toMatchObject({ type: 'session-ended', reason: 'done' });
  });

  it('ends an idle session', async () => {
    await ends.device();
    const service = await ends.service();
    const stream = await service.openStream('d', { name: 'ssh' });
    stream.end();
    await once(stream.resume(), 'end');
    service.close();
    await expect.poll(() => ends.deviceEvents.at(-1)).toMatchObject({ type: 'session-ended', reason: 'done' });
  });
});

describe('a session whose link is lost', () => {
  it.each([
    ['its id', ({ sessionId }: { sessionId: string }) => sessionId],
    ['the id of its last stream', ({ streamId }: { streamId: string }) => streamId],
  ])('is closed by %s: its next link is refused with the reason', async (_what, idOf) => {
    await ends.device();
    const service = await ends.service({ outbound: { ca: hub.ca, proxy: proxy.url } });
    const stream = await service.openStream('d', { name: 'ssh' });
    await roundTrip(stream);
    const { streamId } = await hub.event('stream-established');
    const sessionId = ends.serviceEvents[0]?.sessionId ?? '';
    const [lost, failed] = [once(stream, 'linkLost'), failure(stream)];
    proxy.isBlocked = true;
    proxy.cut();
    await lost;
    await hub.event('stream-ended');
    await hub.owner.streams.close(idOf({ sessionId, streamId }), 'lunch');
    expect(hub.events.filter(({ type }) => type === 'stream-close-requested')).toMatchObject([
      { deviceId: 'd', streamId, reason: 'lunch' },
    ]);
    proxy.isBlocked = false;
    const text = 'An administrator closed the stream: lunch';
    expect(await failed).toMatchObject({ code: 'closed_by_administrator', message: expect.stringContaining(text) });
    expect(ends.serviceEvents.at(-1)).toMatchObject({ type: 'session-ended', reason: 'closed' });
    await expect(hub.owner.streams.close('ab'.repeat(16))).rejects.toMatchObject({ code: 'stream_not_found' });
  });

  it('is closed by its id while it has one, too', async () => {
    await ends.device();
    const service = await ends.service();
    const stream = await service.openStream('d', { name: 'ssh' });
    await roundTrip(stream);
    const failed = failure(stream);
    await hub.owner.streams.close(ends.serviceEvents[0]?.sessionId ?? '', 'lunch');
    expect(await failed).toMatchObject({ code: 'closed_by_administrator' });
    await expect.poll(() => ends.deviceEvents.at(-1)).toMatchObject({ type: 'session-ended', reason: 'closed' });
  });
});

describe('a process', () => {
  async function run(action: string) {
    await ends.device();
    const program = fileURLToPath(new URL('./session-exit.fixture.ts', import.meta.url));
    const { PATH, TEST_WORKER } = process.env;
    const child = spawn(
      process.execPath,
      ['--conditions=development', program, join(hub.directory, 'ca.pem'), action],
      {
        env: { PATH, TEST_WORKER, CULVERT_CONNECTION_STRING: await hub.policy('service') },
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const closed = once(child, 'close');
    expect(String((await once(child.stdout, 'data'))[0])).toBe('hello\n');
    return { child, closed, answeredAt: performance.now() };
  }

  it('is not kept alive by an idle session', async () => {
    const { closed, answeredAt } = await run('end');
    expect(await closed).toEqual([0, null]);
    // An idle session would go on for a minute.
    expect(performance.now() - answeredAt).toBeLessThan(30_000);
  });

  it('is kept alive by an open connection', async () => {
    const { child, closed } = await run('keep');
    const told = once(child.stdout, 'data');
    const { streamId } = await hub.event('stream-established');
    await hub.owner.streams.close(streamId);
    expect(String((await told)[0])).toBe('closed_by_administrator\n');
    expect(await closed).toEqual([0, null]);
  });
});
