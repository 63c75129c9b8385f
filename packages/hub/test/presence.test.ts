import { once } from 'node:events';
import { DeviceClient } from '@culvert/device';
import { ConnectProxy, echoOffer, FakeClock, FaultProxy, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, expect, it } from 'vitest';

let clock: FakeClock;
let test: TestHub;
/** Simulates network faults between the device and the hub. */
let network: FaultProxy;
const cleanups: (() => unknown)[] = [];

async function start(limits: { stallMs?: number } = {}): Promise<void> {
  clock = new FakeClock(Date.now());
  const started = await startHub({ clock, config: { limits } });
  test = started;
  const proxy = await ConnectProxy.start();
  network = await FaultProxy.start({ port: Number(new URL(proxy.url).port) });
  const device = DeviceClient.fromConnectionString(await test.createDevice('d'), {
    outbound: { ...test.outbound, proxy: `http://127.0.0.1:${network.port}` },
    onStream: echoOffer,
    // The device's own clock does not advance, so that the device does not detect the loss of the connection itself.
    clock: new FakeClock(Date.now()),
  });
  cleanups.push(
    () => proxy.stop(),
    () => network.close(),
    () => started.stop(),
    () => device.close(),
  );
  await device.open();
}

afterEach(async () => {
  network.cut();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

it('a device whose network vanished is offline after one and a half of its keepalive, with the reason', async () => {
  await start();
  const attachedAt = clock.now();
  network.blackHole();
  // The SDK's devices use a keepalive of 25 s, and the hub waits for one and a half times that.
  await clock.advance(37_499);
  expect(await test.owner.devices.presence('d')).toMatchObject({ online: true, last: null });
  await clock.advance(1);
  const presence = await test.owner.devices.presence('d');
  expect(presence).toMatchObject({
    online: false,
    since: new Date(attachedAt + 37_500).toISOString(),
    last: {
      ...{ error: 'keepalive_timeout', protocol: 'mqtt-ws', at: presence.since },
      detail: 'Nothing was heard within one and a half of the keepalive.',
    },
  });
  expect(await test.owner.devices.get('d')).toMatchObject({ connectionState: 'Disconnected' });
});

it('a stream whose device vanished is shown until the third ping is due, and is then lost by the device', async () => {
  await start();
  const service = await test.owner.openStream('d', { name: 'x' });
  const lost = once(service.resume(), 'error');
  const { streamId } = await test.event('stream-established');
  network.blackHole();
  let sent = 0;
  // The gateway must receive data from the service between two pings, or it would treat the service as lost too.
  const sendOne = async () => {
    service.write('.');
    sent++;
    await expect.poll(async () => (await test.owner.streams.get(streamId)).fromService.bytes).toBe(sent);
  };
  for (let ping = 0; ping < 2; ping++) {
    await clock.advance(25_000);
    await sendOne();
  }
  expect(await test.owner.streams.get(streamId)).toMatchObject({ state: 'established' });
  expect(await test.owner.devices.presence('d')).toMatchObject({ online: false, streams: 1 });
  await clock.advance(25_000);
  expect((await lost)[0]).toMatchObject({ code: 'stream_lost' });
  const { record } = await test.event('stream-ended');
  expect(record).toMatchObject({ streamId, cause: 'lost_by_device', fromService: { bytes: sent } });
  await expect(test.owner.streams.get(streamId)).rejects.toMatchObject({ code: 'stream_not_found' });
});

it('a stream whose service takes nothing any more is shown until the limit on that, and is then stalled', async () => {
  await start({ stallMs: 1_000 });
  const service = await test.owner.openStream('d', { name: 'x' });
  cleanups.push(() => service.destroy());
  const { streamId } = await test.event('stream-established');
  expect(await test.owner.streams.get(streamId)).toMatchObject({ state: 'established' });
  // The device echoes this data. It is more than all buffers on the way hold, and the service does not read it.
  service.write(Buffer.alloc(48 * 1_048_576));
  let over = false;
  const ended = test.event('stream-ended').finally(() => {
    over = true;
  });
  while (!over) await clock.advance(250);
  expect((await ended).record).toMatchObject({ streamId, cause: 'stalled', error: 'stalled' });
  await expect(test.owner.streams.get(streamId)).rejects.toMatchObject({ code: 'stream_not_found' });
});
