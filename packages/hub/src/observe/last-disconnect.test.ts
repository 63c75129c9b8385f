import { FakeClock } from '@culvert/testkit';
import { expect, it } from 'vitest';
import type { HubEvent } from './events.ts';
import { type LastDisconnect, RecentDisconnects } from './last-disconnect.ts';

const detached = (deviceId: string, moduleId?: string): Extract<HubEvent, { type: 'device-detached' }> => ({
  type: 'device-detached',
  deviceId,
  moduleId,
  protocol: 'mqtt',
  error: 'keepalive_timeout',
  detail: 'why',
  connectedMs: 1,
});

it('remembers the last going of a device and of each module', async () => {
  const clock = new FakeClock(1_000);
  const recent = new RecentDisconnects(clock);
  recent.observe(detached('d'));
  await clock.advance(5);
  recent.observe({ ...detached('d'), error: 'device_gone' });
  recent.observe(detached('d', 'm'));
  expect(await recent.of({ deviceId: 'd' })).toEqual({
    at: 1_005,
    error: 'device_gone',
    detail: 'why',
    protocol: 'mqtt',
  });
  expect(await recent.of({ deviceId: 'd', moduleId: 'm' })).toMatchObject({ error: 'keepalive_timeout' });
  expect(await recent.of({ deviceId: 'e' })).toBeUndefined();
});

it('forgets those who went longest ago, of whom an older memory is asked, if it can be', async () => {
  const known: LastDisconnect = { at: 1, error: 'device_gone', detail: '', protocol: 'amqp' };
  let broken = false;
  const older = () => (broken ? Promise.reject(new Error('disk')) : Promise.resolve(known));
  const recent = new RecentDisconnects(new FakeClock(1_000), older);
  for (let count = 0; count < 10_000; count++) recent.observe(detached(`d${count}`));
  recent.observe(detached('d0'));
  recent.observe(detached('new'));
  expect(await recent.of({ deviceId: 'd0' })).toMatchObject({ at: 1_000 });
  expect(await recent.of({ deviceId: 'd1' })).toEqual(known);
  expect(await recent.of({ deviceId: 'd2' })).toMatchObject({ at: 1_000 });
  broken = true;
  expect(await recent.of({ deviceId: 'd1' })).toBeUndefined();
});
