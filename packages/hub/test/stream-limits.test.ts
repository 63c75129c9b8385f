import { once } from 'node:events';
import { request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import { DeviceClient } from '@culvert/device';
import type { CulvertError, LimitName } from '@culvert/protocol';
import { parseServiceConnectionString, signSasToken } from '@culvert/protocol';
import { FakeClock, startHub, type TestHub, type TestHubOptions } from '@culvert/testkit';
import { afterEach, describe, expect, it } from 'vitest';

let test: TestHub;
let clock: FakeClock;
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(limits: Partial<Record<LimitName, number>>, over: TestHubOptions = {}): Promise<void> {
  clock = new FakeClock(Date.now());
  const started = await startHub({ clock, config: { limits }, ...over });
  test = started;
  cleanups.push(() => started.stop());
}

/** For each stream, the error with which the device's end was closed, or undefined; in the order of the streams. */
type DeviceEnds = Promise<CulvertError | undefined>[];

async function attach(deviceId: string): Promise<DeviceEnds> {
  const ends: DeviceEnds = [];
  const device = DeviceClient.fromConnectionString(await test.createDevice(deviceId), {
    outbound: test.outbound,
    onStream: async (offer) => {
      const stream = await offer.accept();
      ends.push(endOf(stream));
      stream.pipe(stream);
    },
  });
  cleanups.push(() => device.close());
  await device.open();
  return ends;
}

function endOf(stream: Duplex): Promise<CulvertError | undefined> {
  return new Promise((resolve) => {
    stream.on('error', (error) => resolve(error as CulvertError)).on('close', () => resolve(undefined));
  });
}

async function open(deviceId: string): Promise<Duplex> {
  const joined = test.events.filter(({ type }) => type === 'stream-established').length;
  const stream = await test.owner.openStream(deviceId, { name: 'x', connectTimeoutMs: 0 });
  cleanups.push(() => stream.destroy());
  await expect.poll(() => test.events.filter(({ type }) => type === 'stream-established').length).toBe(joined + 1);
  return stream;
}

const codeOf = (opening: Promise<unknown>) =>
  opening.then(
    () => 'opened',
    (error: CulvertError) => error.code,
  );

async function shown(name: LimitName) {
  return (await test.owner.streams.limits()).find((limit) => limit.name === name);
}

/** Requests a stream to a device that is not connected. Returns the status of the response and its Retry-After header. */
async function ask(deviceId: string): Promise<[status: number | undefined, retryAfter: string | undefined]> {
  const { key, policy } = parseServiceConnectionString(await test.policy('service'));
  const expiry = Math.floor(clock.now() / 1_000) + 600;
  const authorization = await signSasToken({ audience: `127.0.0.1:${test.port}`, key, policy, expiry });
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      { host: '127.0.0.1', port: test.port, ca: test.ca, method: 'POST', headers: { authorization } },
      (response) => {
        response.resume();
        resolve([response.statusCode, response.headers['retry-after']]);
      },
    );
    request.path = `/twins/${deviceId}/streams/x`;
    request.on('error', reject).end();
  });
}

describe('how many streams', () => {
  it('a device may have is looked at before it is asked, and does not touch others', async () => {
    await start({ streamsPerDevice: 2 });
    await Promise.all([attach('a'), attach('b')]);
    const first = await open('a');
    await open('a');
    const refused = test.owner.openStream('a', { name: 'x' });
    await expect(refused).rejects.toMatchObject({
      code: 'too_many_requests',
      message: 'The device has as many streams as it may.',
    });
    const { record } = await test.event('stream-ended');
    expect(record).toMatchObject({ deviceId: 'a', cause: 'refused', error: 'too_many_requests', offeredAt: undefined });
    expect(await shown('streamsPerDevice')).toEqual({
      ...{ name: 'streamsPerDevice', unit: 'streams', limit: 2, used: 2, reached: 1 },
    });
    await open('b');
    first.resume().end();
    await test.event('stream-ended', (event) => event.record.cause === 'ended_by_service');
    await open('a');
  });

  it('the hub may carry is looked at before the device is asked', async () => {
    await start({ streams: 1 });
    await attach('a');
    await open('a');
    await expect(test.owner.openStream('a', { name: 'x' })).rejects.toMatchObject({
      code: 'too_many_requests',
      message: 'The hub carries as many streams as it may.',
    });
    expect(await shown('streams')).toMatchObject({ limit: 1, used: 1, reached: 1 });
    expect(test.events.filter(({ type }) => type === 'stream-requested')).toHaveLength(1);
  });

  it('may be asked for in a second is refused with Retry-After, and comes back with time', async () => {
    await start({ newStreamsPerSecond: 3 });
    const answers = [];
    for (let count = 0; count < 5; count++) answers.push(await ask('nobody'));
    expect(answers).toEqual([...Array(3).fill([404, undefined]), ...Array(2).fill([429, '1'])]);
    expect(await shown('newStreamsPerSecond')).toMatchObject({ limit: 3, used: 3, reached: 2 });
    // A request above the rate limit is refused before the hub creates a stream, so it leaves no record.
    expect(test.events.filter(({ type }) => type === 'stream-ended')).toHaveLength(3);
    await clock.advance(334);
    expect([await ask('nobody'), await ask('nobody')]).toEqual([
      [404, undefined],
      [429, '1'],
    ]);
    await clock.advance(1_000);
    expect(await shown('newStreamsPerSecond')).toMatchObject({ used: 0, reached: 3 });
  });

  it('may be asked of one device in a second is no concern of another', async () => {
    await start({ newStreamsPerSecondPerDevice: 1 });
    expect([await ask('a'), await ask('a'), await ask('b')]).toEqual([
      [404, undefined],
      [429, '1'],
      [404, undefined],
    ]);
    expect(await shown('newStreamsPerSecondPerDevice')).toMatchObject({ limit: 1, used: 1, reached: 1 });
  });
});

describe('a stream', () => {
  it('that is idle for too long is ended, both ends learn it; one that is used is not', async () => {
    await start({ idleMs: 5_000 });
    const ends = await attach('a');
    const [idle, used] = [await open('a'), await open('a')];
    const idleEnd = endOf(idle.resume());
    const usedEnd = endOf(used);
    for (let second = 0; second < 8; second++) {
      used.write('.');
      await once(used, 'data');
      await clock.advance(1_000);
    }
    const why = { code: 'idle_timeout', message: 'Nothing was sent for as long as a stream may be idle.' };
    expect(await Promise.all([idleEnd, ends[0]])).toMatchObject([why, why]);
    const { record } = await test.event('stream-ended');
    expect(record).toMatchObject({ cause: 'idle', error: 'idle_timeout', fromService: { bytes: 0 } });
    expect(await shown('idleMs')).toMatchObject({ limit: 5_000, reached: 1 });
    expect(used.destroyed).toBe(false);
    used.end();
    expect(await usedEnd).toBeUndefined();
    await expect.poll(() => test.hub.streams).toBe(0);
  });

  it('that has lived long enough is ended however busy', async () => {
    await start({ lifetimeMs: 3_000 });
    const ends = await attach('a');
    const stream = await open('a');
    const end = endOf(stream);
    for (let second = 0; second < 3; second++) {
      stream.write('.');
      await once(stream, 'data');
      await clock.advance(1_000);
    }
    const why = { code: 'lifetime_ended' };
    expect(await Promise.all([end, ends[0]])).toMatchObject([why, why]);
    expect((await test.event('stream-ended')).record).toMatchObject({ cause: 'lifetime_ended' });
    expect(await shown('lifetimeMs')).toMatchObject({ limit: 3_000, reached: 1 });
  });

  it('that has carried enough is ended within a second of it', async () => {
    await start({ bytesPerStream: 1_000 });
    const ends = await attach('a');
    const stream = await open('a');
    const end = endOf(stream);
    stream.write(Buffer.alloc(499));
    await once(stream, 'data');
    await clock.advance(1_000);
    expect(await shown('bytesPerStream')).toMatchObject({ limit: 1_000, used: 998, reached: 0 });
    stream.write(Buffer.alloc(1));
    await once(stream, 'data');
    await clock.advance(1_000);
    const why = { code: 'quota_reached', message: 'The stream has carried as much as it may.' };
    expect(await Promise.all([end, ends[0]])).toMatchObject([why, why]);
    expect((await test.event('stream-ended')).record).toMatchObject({ cause: 'quota_reached' });
    expect(await shown('bytesPerStream')).toMatchObject({ reached: 1 });
  });
});

describe('what a device may carry in a day', () => {
  it('is shared by its streams, kept over a restart, and refused when it is used up', async () => {
    const limits = { bytesPerDevicePerDay: 1_000 };
    await start(limits);
    const stopped = cleanups.pop();
    expect(stopped).toBeDefined();
    await attach('a');
    const one = await open('a');
    one.write(Buffer.alloc(200));
    await once(one, 'data');
    one.resume().end();
    await test.event('stream-ended');
    expect(await shown('bytesPerDevicePerDay')).toMatchObject({ limit: 1_000, used: 400, reached: 0 });
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
    const { directory, port } = test;
    await test.stop({ keep: true });

    await start(limits, { directory, config: { limits, listen: `127.0.0.1:${port}` } });
    const ends: DeviceEnds = [];
    const device = DeviceClient.fromConnectionString(await connectionString('a'), {
      outbound: test.outbound,
      onStream: async (offer) => {
        const stream = await offer.accept();
        ends.push(endOf(stream));
        stream.pipe(stream);
      },
    });
    cleanups.push(() => device.close());
    await device.open();
    expect(await shown('bytesPerDevicePerDay')).toMatchObject({ used: 400 });
    const [two, three] = [await open('a'), await open('a')];
    const serviceEnds = [endOf(two), endOf(three)];
    two.write(Buffer.alloc(150));
    await once(two, 'data');
    three.write(Buffer.alloc(150));
    await once(three, 'data');
    await clock.advance(1_000);
    const why = { code: 'quota_reached', message: 'The device has carried as much today as it may.' };
    expect(await Promise.all([...serviceEnds, ...ends])).toMatchObject([why, why, why, why]);
    expect(await codeOf(test.owner.openStream('a', { name: 'x' }))).toBe('quota_reached');
    expect(await shown('bytesPerDevicePerDay')).toMatchObject({ used: 1_000, reached: 3 });
  });
});

async function connectionString(deviceId: string): Promise<string> {
  const { authentication } = await test.owner.devices.get(deviceId);
  return `HostName=127.0.0.1:${test.port};DeviceId=${deviceId};SharedAccessKey=${authentication.symmetricKey.primaryKey}`;
}
