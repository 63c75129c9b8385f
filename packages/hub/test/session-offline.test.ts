import { once } from 'node:events';
import { ConnectProxy, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, expect, it } from 'vitest';
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

it('a device that is offline is reported as such although a session with it waits for its return, as for a raw stream', async () => {
  await ends.device({ outbound: { ca: hub.ca, proxy: proxy.url } });
  const service = await ends.service();
  const stream = await service.openStream('d', { name: 'ssh', connectTimeoutMs: 0 });
  await roundTrip(stream);
  const lost = once(stream, 'linkLost');
  await proxy.stop();
  await lost;
  await hub.event('device-detached');
  const opening = { name: 'ssh', connectTimeoutMs: 0 };
  const raw = service.openStream('d', { ...opening, raw: true });
  await expect(raw).rejects.toMatchObject({ code: 'device_offline' });
  await expect(service.openStream('d', opening)).rejects.toMatchObject({ code: 'device_offline' });
  const early = await service.openStream('d', { ...opening, early: true });
  early.write('request');
  expect((await once(early, 'error'))[0]).toMatchObject({ code: 'device_offline' });
  // What was open before still waits.
  expect(stream.destroyed).toBe(false);
});
