import { once } from 'node:events';
import { REPORT_MS } from '@culvert/session';
import { FakeClock, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { roundTrip, SessionEnds } from './session-ends.fixture.ts';

let hub: TestHub;
let clock: FakeClock;
let ends: SessionEnds;

beforeEach(async () => {
  clock = new FakeClock(Math.floor(Date.now() / 1000) * 1000);
  hub = await startHub({ clock });
  ends = new SessionEnds(hub);
});
afterEach(async () => {
  await ends.stop();
  await hub.stop();
});

const reported = () => hub.events.filter((event) => event.type === 'session-reported');

it('both ends report the connections of a session by themselves', async () => {
  await ends.device({ clock });
  const service = await ends.service({ clock });
  const [first, second] = [
    await service.openStream('d', { name: 'ssh' }),
    await service.openStream('d', { name: 'web' }),
  ];
  await roundTrip(first);
  await roundTrip(second, 'hi');
  first.end();
  await once(first.resume(), 'end');
  await clock.advance(REPORT_MS);
  const { streamId, sessionId } = await hub.event('session-reported', ({ claimedBy }) => claimedBy === 'device');
  await hub.event('session-reported', ({ claimedBy }) => claimedBy === 'service');
  const { claims = [] } = await hub.owner.streams.get(streamId);
  for (const { claimedBy, sessionId: claimed, connections } of claims) {
    const bytes = { sent: 5, received: 5 };
    expect({ claimedBy, claimed, ssh: connections.find(({ service: name }) => name === 'ssh') }).toMatchObject({
      ...{ claimed: sessionId, ssh: { id: 1, closed: expect.any(Number), ...bytes } },
    });
    const web = connections.find(({ service: name }) => name === 'web');
    expect(web).toMatchObject({ id: 3, sent: 2, received: 2 });
    expect(web).not.toHaveProperty('closed');
  }
  expect(claims.map(({ claimedBy }) => claimedBy).sort()).toEqual(['device', 'service']);
  second.destroy();
});

it('the last report comes when the session ends', async () => {
  await ends.device({ clock });
  const service = await ends.service({ clock });
  const stream = await service.openStream('d', { name: 'ssh' });
  await roundTrip(stream);
  stream.destroy();
  service.close();
  for (const end of ['device', 'service'] as const) {
    const { connections } = await hub.event('session-reported', ({ claimedBy }) => claimedBy === end);
    expect(connections).toMatchObject([{ service: 'ssh', sent: 5, received: 5, reason: 'reset' }]);
  }
});

it('a raw stream is reported by nobody', async () => {
  await ends.device({ clock });
  const service = await ends.service({ clock });
  const stream = await service.openStream('d', { name: 'ssh', raw: true });
  await roundTrip(stream);
  stream.end();
  await once(stream.resume(), 'close');
  await clock.advance(2 * REPORT_MS);
  await service.devices.reachability('d');
  expect(reported()).toEqual([]);
});
