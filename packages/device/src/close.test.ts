import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { formatOfferTopic } from '@culvert/protocol';
import { FakeClock, ScriptedHub } from '@culvert/testkit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DeviceClient } from './device-client.ts';
import type { StreamOffer } from './stream-offer.ts';

let hub: ScriptedHub;
let clock: FakeClock;
let device: DeviceClient;
let onStream: (offer: StreamOffer) => void | Promise<void>;

beforeEach(async () => {
  hub = await ScriptedHub.start();
  clock = new FakeClock();
  onStream = () => undefined;
  device = DeviceClient.fromConnectionString(hub.deviceConnectionString('d1'), {
    onStream: (offer) => onStream(offer),
    outbound: { ca: hub.ca },
    clock,
  });
});

afterEach(async () => {
  await device.close();
  await hub.stop();
});

async function attach() {
  const opened = device.open();
  const channel = await hub.channel();
  await channel.welcome();
  await opened;
  return channel;
}

const offerTopic = (requestId: string) =>
  formatOfferTopic({ streamName: 'echo', requestId, url: hub.streamUrl('ab'.repeat(16), 'device'), token: 'grant' });

it('says goodbye and leaves nothing behind', async () => {
  const channel = await attach();
  const closing = device.close();
  expect(device.state).toBe('closed');
  await Promise.all([closing, device.close()]);
  expect(await channel.take('disconnect')).toMatchObject({ reasonCode: 0 });
  expect(await channel.closed).toBe(1000);
  expect(clock.timers).toBe(0);
  await expect.poll(() => hub.connections).toBe(0);
});

it('rejects what is not answered yet', async () => {
  onStream = () => new Promise<void>(() => undefined);
  const channel = await attach();
  const before = clock.timers;
  channel.publish(offerTopic('1'));
  await expect.poll(() => clock.timers).toBe(before + 1);
  await device.close();
  expect(await channel.take('publish')).toMatchObject({
    topic: '$iothub/streams/res/400/?$rid=1',
    payload: Buffer.from('The device is disconnecting.'),
  });
  await channel.take('disconnect');
  expect(clock.timers).toBe(0);
});

it('leaves streams alone', async () => {
  let accepted: Promise<Duplex> | undefined;
  onStream = async (offer) => {
    accepted = offer.accept();
    await accepted;
  };
  const channel = await attach();
  channel.publish(offerTopic('1'));
  await channel.take('publish');
  await device.close();
  const stream = await accepted;
  stream?.write('still here');
  expect(String((await once(stream as Duplex, 'data'))[0])).toBe('still here');
  stream?.destroy();
});

it('ends an attempt', async () => {
  const opening = device.open();
  const channel = await hub.channel();
  await channel.take('connect');
  const aborted = expect(opening).rejects.toMatchObject({ code: 'aborted' });
  await device.close();
  await aborted;
  await channel.closed;
  expect(device.state).toBe('closed');
  await expect.poll(() => clock.timers).toBe(0);
});

it('is harmless before open, and open works after it', async () => {
  await device.close();
  const channel = await attach();
  channel.socket.terminate();
  await expect.poll(() => device.state).toBe('waiting');
  await device.close();
  expect(clock.timers).toBe(0);
  await attach();
});
