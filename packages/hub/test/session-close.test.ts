import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConnectProxy, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { roundTrip, SessionEnds } from './session-ends.fixture.ts';

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
