import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { text as readAll } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { type CulvertError, formatDeviceConnectionString } from '@culvert/protocol';
import { startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient, type DeviceClientOptions } from './device-client.ts';
import type { StreamOffer } from './stream-offer.ts';

let hub: TestHub;
let connectionString: string;
const devices: DeviceClient[] = [];

beforeEach(async () => {
  hub = await startHub();
  connectionString = await hub.createDevice('d1');
});

afterEach(async () => {
  await Promise.all(devices.splice(0).map((device) => device.close()));
  await hub.stop();
});

async function echo(offer: StreamOffer): Promise<void> {
  if (offer.name !== 'echo') return offer.reject(`no '${offer.name}' here`);
  const stream = await offer.accept();
  await pipeline(stream, stream);
}

function client(options: Partial<DeviceClientOptions> = {}, text = connectionString): DeviceClient {
  const device = DeviceClient.fromConnectionString(text, { onStream: echo, outbound: hub.outbound, ...options });
  devices.push(device);
  return device;
}

/** Sends one MiB over a stream and checks that the same bytes are returned. */
async function roundTrip(): Promise<void> {
  const stream = await hub.owner.openStream('d1', { name: 'echo' });
  const sent = randomBytes(1_048_576);
  const hash = createHash('sha256');
  let received = 0;
  stream.write(sent);
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    hash.update(chunk);
    received += chunk.length;
    if (received === sent.length) stream.end();
  }
  expect(hash.digest('hex')).toBe(createHash('sha256').update(sent).digest('hex'));
}

describe('against a real hub', () => {
  it('relays bytes, several streams at once, and knows who asks', async () => {
    const offers: StreamOffer[] = [];
    await client({
      onStream: (offer) => {
        offers.push(offer);
        return echo(offer);
      },
    }).open();
    await Promise.all([roundTrip(), roundTrip(), roundTrip()]);
    expect(offers).toHaveLength(3);
    expect(offers[0]?.caller).toBe('policy:iothubowner');
    const { streamId } = await hub.event('stream-requested');
    expect(offers.map((offer) => offer.streamId)).toContain(streamId);
  });

  it('rejects with a reason', async () => {
    await client().open();
    await expect(hub.owner.openStream('d1', { name: 'ssh' })).rejects.toMatchObject({
      code: 'rejected',
      message: "The device rejected the stream: no 'ssh' here",
    });
  });

  it('is refused with a wrong key, and when disabled', async () => {
    const wrong = connectionString.replace(
      /SharedAccessKey=.*/,
      `SharedAccessKey=${randomBytes(32).toString('base64')}`,
    );
    await expect(client({}, wrong).open()).rejects.toMatchObject({ name: 'CulvertError', code: 'unauthorized' });
    await hub.owner.devices.update({ deviceId: 'd1', status: 'disabled' });
    const disabled = client();
    await expect(disabled.open()).rejects.toMatchObject({ name: 'CulvertError', row: { retryable: false } });
    expect(disabled.state).toBe('closed');
  });

  it('comes back after the hub was restarted', async () => {
    const device = client();
    await device.open();
    await hub.stop({ keep: true });
    await expect.poll(() => device.state).not.toBe('attached');
    hub = await startHub({ directory: hub.directory, config: { listen: `127.0.0.1:${hub.port}` } });
    await hub.event('device-attached');
    await roundTrip();
  });

  it('renews its token while a stream is open', async () => {
    const states: string[] = [];
    await client({ tokenLifetimeSeconds: 2, onStateChange: (state) => states.push(state) }).open();
    const stream = await hub.owner.openStream('d1', { name: 'echo' });
    const detached = await hub.event('device-detached');
    expect(detached.error).toBe('taken_over');
    await expect.poll(() => hub.events.filter(({ type }) => type === 'device-attached')).toHaveLength(2);
    stream.write('still here');
    expect(String((await once(stream, 'data'))[0])).toBe('still here');
    stream.end();
    await roundTrip();
    expect(states).toEqual(['connecting', 'attached']);
  });

  it('gives way to a newer client of the same device, and says so', async () => {
    const errors: (CulvertError | undefined)[] = [];
    const older = client({ onStateChange: (state, error) => state === 'waiting' && errors.push(error) });
    await older.open();
    await client().open();
    await expect.poll(() => older.state).toBe('waiting');
    expect(errors).toMatchObject([{ code: 'taken_over' }]);
    await roundTrip();
  });
});

describe('a module, against a real hub', () => {
  it('attaches beside its device and has streams of its own', async () => {
    const { authentication } = await hub.owner.modules.create('d1', 'camera');
    const key = authentication.symmetricKey.primaryKey;
    const text = formatDeviceConnectionString({
      host: '127.0.0.1',
      port: hub.port,
      deviceId: 'd1',
      moduleId: 'camera',
      key,
    });
    const offers: StreamOffer[] = [];
    const onStream = (offer: StreamOffer) => {
      offers.push(offer);
      return echo(offer);
    };
    await client({ onStream: (offer) => offer.reject('the device itself') }).open();
    await client({ onStream }, text).open();
    const stream = await hub.owner.openStream('d1', { moduleId: 'camera', name: 'echo' });
    stream.end('hello');
    expect(await readAll(stream)).toBe('hello');
    expect(offers).toHaveLength(1);
    await expect(hub.owner.openStream('d1', { name: 'echo' })).rejects.toMatchObject({ code: 'rejected' });
  });

  it('is let in by its own key and its device’s, and by nobody else’s', async () => {
    const { authentication } = await hub.owner.modules.create('d1', 'camera');
    await hub.owner.modules.create('d1', 'arm');
    const withKey = (key: string, id: string) => `HostName=127.0.0.1:${hub.port};${id};SharedAccessKey=${key}`;
    const camera = String(authentication.symmetricKey.primaryKey);
    const others = (await hub.createDevice('d2')).split('SharedAccessKey=')[1] ?? '';
    for (const text of [
      withKey(camera, 'DeviceId=d1'),
      withKey(camera, 'DeviceId=d1;ModuleId=arm'),
      withKey(others, 'DeviceId=d1;ModuleId=camera'),
    ]) {
      await expect(client({}, text).open()).rejects.toMatchObject({ code: 'unauthorized' });
    }
    await client({}, connectionString.replace(';SharedAccessKey', ';ModuleId=camera;SharedAccessKey')).open();
  });
});
