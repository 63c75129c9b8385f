import { once } from 'node:events';
import { DeviceClient, type StreamOffer } from '@culvert/device';
import type { CulvertError } from '@culvert/protocol';
import { echoOffer, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let test: TestHub;
const devices: DeviceClient[] = [];

beforeEach(async () => {
  test = await startHub();
});

afterEach(async () => {
  await Promise.all(devices.splice(0).map((device) => device.close()));
  await test.stop();
});

async function attach(deviceId: string, onStream: (offer: StreamOffer) => void | Promise<void>): Promise<DeviceClient> {
  const text = await test.createDevice(deviceId);
  const device = DeviceClient.fromConnectionString(text, { onStream, outbound: test.outbound });
  devices.push(device);
  await device.open();
  return device;
}

async function exchange(stream: NodeJS.ReadWriteStream, text: string): Promise<string> {
  stream.write(text);
  let received = '';
  while (received.length < text.length) {
    const [chunk] = (await once(stream, 'data')) as [Buffer];
    received += chunk.toString();
  }
  return received;
}

describe('a hub', () => {
  it('carries bytes from a service to a device and back', async () => {
    await attach('echo-1', echoOffer);
    const stream = await test.owner.openStream('echo-1', { name: 'echo' });
    expect(await exchange(stream, 'hello, device')).toBe('hello, device');
    stream.end();
    const closed = await test.event('stream-closed');
    expect(closed).toMatchObject({
      established: true,
      cause: 'ended_by_service',
      fromService: { bytes: 13 },
      fromDevice: { bytes: 13 },
    });
  });

  it('tells the service why a device rejected', async () => {
    await attach('no', (offer) => offer.reject('not today'));
    await expect(test.owner.openStream('no', { name: 'x' })).rejects.toMatchObject({
      code: 'rejected',
      message: expect.stringContaining('not today'),
    });
  });

  it('says that a device is unknown, offline or disabled', async () => {
    await expect(test.owner.openStream('nobody', { name: 'x' })).rejects.toMatchObject({ code: 'device_not_found' });
    await test.createDevice('away');
    await expect(test.owner.openStream('away', { name: 'x', connectTimeoutMs: 0 })).rejects.toMatchObject({
      code: 'device_offline',
    });
    await test.owner.devices.update({ deviceId: 'away', status: 'disabled' });
    await expect(test.owner.openStream('away', { name: 'x' })).rejects.toMatchObject({ code: 'device_disabled' });
  });

  it('ends channel and streams of a device that is disabled', async () => {
    await attach('soon-off', echoOffer);
    const stream = await test.owner.openStream('soon-off', { name: 'echo' });
    await exchange(stream, 'x');
    const failed = once(stream, 'error') as Promise<[CulvertError]>;
    await test.owner.devices.update({ deviceId: 'soon-off', status: 'disabled' });
    expect((await failed)[0]).toMatchObject({ code: 'revoked' });
    expect(await test.event('device-detached')).toMatchObject({ deviceId: 'soon-off' });
    expect(await test.event('stream-closed')).toMatchObject({ cause: 'revoked' });
  });
});
