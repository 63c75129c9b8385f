import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DeviceClient } from '@culvert/device';
import type { ResourceLogRecord } from '@culvert/protocol';
import { ServiceClient } from '@culvert/service';
import { echoOffer, FakeClock, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, describe, expect, it } from 'vitest';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(options?: Parameters<typeof startHub>[0]): Promise<TestHub> {
  const test = await startHub(options);
  cleanups.push(() => test.stop());
  return test;
}

async function attach(test: TestHub, deviceId: string, onStream = echoOffer): Promise<DeviceClient> {
  const text = await test.createDevice(deviceId);
  const device = DeviceClient.fromConnectionString(text, { onStream, outbound: test.outbound });
  cleanups.push(() => device.close());
  await device.open();
  return device;
}

async function exchange(test: TestHub, deviceId: string, text: string): Promise<void> {
  const stream = await test.owner.openStream(deviceId, { name: 'echo' });
  stream.write(text);
  await once(stream, 'data');
  stream.end();
  await once(stream.resume(), 'close');
}

const propertiesOf = (record: ResourceLogRecord) => JSON.parse(record.properties) as Record<string, unknown>;
async function all<T>(records: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const record of records) list.push(record);
  return list;
}

describe('the resource log', () => {
  it('tells, in Azure’s shape, what happened to a device and its streams', async () => {
    const test = await start({ config: { logs: { resourceId: '/hubs/a', location: 'Plant 3' } } });
    const device = await attach(test, 'press-7');
    await exchange(test, 'press-7', 'hello');
    const { record } = await test.event('stream-ended');
    await device.close();
    await test.event('device-detached');
    await test.createDevice('away');
    const refused = test.owner.openStream('away', { name: 'x', connectTimeoutMs: 0 });
    await expect(refused).rejects.toMatchObject({ code: 'device_offline' });
    const wrong = DeviceClient.fromConnectionString(
      `HostName=127.0.0.1:${test.port};DeviceId=press-7;SharedAccessKey=${Buffer.alloc(32).toString('base64')}`,
      { onStream: echoOffer, outbound: test.outbound },
    );
    await expect(wrong.open()).rejects.toMatchObject({ code: 'unauthorized' });
    await wrong.close();

    const records = await all(test.owner.logs.list({ order: 'oldest' }));
    expect(records.map(({ operationName, resultType }) => [operationName, resultType])).toEqual([
      ['deviceConnect', ''],
      ['invoke', ''],
      ['streamClose', ''],
      ['deviceDisconnect', '404104'],
      ['invoke', '404103'],
      ['connectionRefused', '401002'],
    ]);
    const [connect, invoke, close, disconnect, offline, refusal] = records as [
      ...[ResourceLogRecord, ResourceLogRecord, ResourceLogRecord],
      ...[ResourceLogRecord, ResourceLogRecord, ResourceLogRecord],
    ];
    // The same keys as in Azure's log, in the same order.
    expect(Object.keys(invoke)).toEqual([
      ...['time', 'resourceId', 'operationName', 'category', 'resultType', 'resultDescription'],
      ...['level', 'durationMs', 'properties', 'location'],
    ]);
    expect(Object.keys(propertiesOf(invoke)).slice(0, 8)).toEqual([
      ...[
        'deviceId',
        'moduleId',
        'sdkVersion',
        'requestSize',
        'responseSize',
        'statusCode',
        'requestName',
        'direction',
      ],
    ]);
    expect(invoke).toMatchObject({
      ...{ category: 'DeviceStreams', resultDescription: '', level: 'Information' },
      ...{ resourceId: '/hubs/a', location: 'Plant 3' },
      durationMs: String((record.establishedAt ?? 0) - record.requestedAt),
    });
    expect(propertiesOf(invoke)).toMatchObject({
      ...{ deviceId: 'press-7', moduleId: null, requestSize: '0', responseSize: '0', statusCode: null },
      ...{ requestName: 'echo', direction: 'c2d', streamId: record.streamId, caller: 'policy:iothubowner' },
      ...{ callerAddress: '127.0.0.1', serviceAddress: '127.0.0.1', deviceAddress: '127.0.0.1' },
      ...{ devicePrincipal: 'device:press-7', protocol: 'mqtt-ws', gateway: `127.0.0.1:${test.port}` },
      offerMs: (record.offeredAt ?? 0) - record.requestedAt,
    });
    const sdkVersion = expect.stringMatching(/^culvert-device\/\d+\.\d+\.\d+ \(node \d+\.\d+\.\d+; \w+; \w+\)$/);
    for (const record of [connect, invoke, close, disconnect]) {
      expect(propertiesOf(record)).toMatchObject({ sdkVersion });
    }
    expect(propertiesOf(close)).toMatchObject({
      ...{ requestSize: '5', responseSize: '5', bytesFromService: 5, messagesFromService: 1, bytesFromDevice: 5 },
      ...{ cause: 'ended_by_service', detail: 'The service ended it.', streamId: record.streamId },
      streamMs: record.endedAt - (record.establishedAt ?? 0),
    });
    expect(propertiesOf(connect)).toMatchObject({
      ...{ deviceId: 'press-7', protocol: 'mqtt-ws', maskedIpAddress: '127.0.0.XXX', statusCode: null },
      authType: '{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}',
    });
    expect(disconnect).toMatchObject({ category: 'Connections', level: 'Warning' });
    expect(propertiesOf(disconnect)).toMatchObject({ error: 'device_gone', detail: 'The device disconnected.' });
    expect(offline).toMatchObject({ level: 'Error', resultDescription: 'DeviceNotOnline' });
    expect(propertiesOf(offline)).toMatchObject({ deviceId: 'away', statusCode: '404', error: 'device_offline' });
    expect(refusal).toMatchObject({ category: 'Connections', level: 'Error' });
    expect(propertiesOf(refusal)).toMatchObject({ deviceId: 'press-7', error: 'unauthorized', protocol: 'mqtt-ws' });
  });

  it('is asked by REST, filtered and page by page, by those who may', async () => {
    const test = await start();
    await attach(test, 'a');
    for (let n = 0; n < 3; n++) await exchange(test, 'a', 'x');
    // The hub records the end of a stream shortly after both ends have seen it.
    await expect.poll(() => test.events.filter(({ type }) => type === 'stream-ended').length).toBe(3);
    const { logs } = test.owner;
    expect((await all(logs.list({ top: 2 }))).length).toBe(7);
    expect((await all(logs.list({ category: 'Connections' }))).map(propertiesOf)).toMatchObject([{ deviceId: 'a' }]);
    expect(await all(logs.list({ device: 'b' }))).toEqual([]);
    expect(await all(logs.list({ device: 'a', module: 'm' }))).toEqual([]);
    expect(await all(logs.list({ result: 'failed' }))).toEqual([]);
    expect(await all(logs.list({ since: new Date(Date.now() + 60_000) }))).toEqual([]);
    const [newest] = await all(logs.list({ top: 1 }));
    const { streamId } = propertiesOf(newest as ResourceLogRecord);
    expect((await all(logs.list({ stream: String(streamId) }))).length).toBe(2);
    for (const wrong of [
      { result: 'bad' },
      { stream: 'x' },
      { module: 'm' },
      { device: 'a/b' },
      { continuation: 'x' },
    ]) {
      await expect(logs.listPage(wrong)).rejects.toMatchObject({ code: 'argument_invalid' });
    }
    const may = ServiceClient.fromConnectionString(await test.policy('monitor'), { outbound: test.outbound });
    const not = ServiceClient.fromConnectionString(await test.policy('service'), { outbound: test.outbound });
    expect((await may.logs.listPage({ top: 1 })).records.length).toBe(1);
    await expect(not.logs.listPage()).rejects.toMatchObject({ code: 'forbidden' });
    await expect(all(not.logs.follow())).rejects.toMatchObject({ code: 'forbidden' });
    may.close();
    not.close();
  });

  it('is followed, over a restart of the hub, without a gap', async () => {
    const first = await startHub();
    const device = await attach(first, 'a');
    const stopped = new AbortController();
    const lost: string[] = [];
    let onBack: () => void = () => undefined;
    const returned = new Promise<void>((resolve) => {
      onBack = resolve;
    });
    const service = ServiceClient.fromConnectionString(first.ownerConnectionString, { outbound: first.outbound });
    const following = service.logs.follow({
      ...{ device: 'a', signal: stopped.signal, since: new Date(Date.now() - 60_000) },
      onLost: ({ code }) => lost.push(code),
      onBack: () => onBack(),
    });
    const next = following.next();
    await exchange(first, 'a', 'x');
    const seen = [(await next).value, (await following.next()).value, (await following.next()).value];
    const gone = following.next();
    await first.stop({ keep: true });
    seen.push((await gone).value);
    const back = following.next();
    const { port } = first;
    const again = await start({ directory: first.directory, config: { listen: `127.0.0.1:${port}` } });
    await again.event('device-attached');
    seen.push((await back).value);
    await returned;
    expect(seen.map((record) => record?.operationName)).toEqual([
      ...['deviceConnect', 'invoke', 'streamClose', 'deviceDisconnect', 'deviceConnect'],
    ]);
    expect(lost.length).toBeGreaterThan(0);
    const over = following.next();
    stopped.abort();
    await expect(over).rejects.toMatchObject({ code: 'aborted' });
    service.close();
    await device.close();
  });

  it('is followed no longer than the key is good', async () => {
    const clock = new FakeClock(Date.now());
    const test = await start({ clock });
    const text = await test.policy('monitor');
    const service = ServiceClient.fromConnectionString(text, { outbound: test.outbound });
    cleanups.push(() => service.close());
    const lost: string[] = [];
    const since = new Date(clock.now() - 1_000);
    const following = service.logs.follow({ since, onLost: ({ code }) => lost.push(code) });
    const next = following.next();
    // The record of the device's connection shows that the subscription has started.
    const device = await attach(test, 'a');
    expect((await next).value?.operationName).toBe('deviceConnect');
    const over = expect(following.next()).rejects.toMatchObject({ code: 'unauthorized' });
    // Two rotations, because the first one keeps the old key as the secondary key.
    for (let n = 0; n < 2; n++) await test.owner.policies.rotate('monitor');
    await clock.advance(25_000);
    await over;
    expect(lost).toEqual(['unreachable']);
    await device.close();
  });

  it('ends with the hub, its last records in it', async () => {
    const test = await startHub();
    await attach(test, 'a');
    const stream = await test.owner.openStream('a', { name: 'echo' });
    stream.on('error', () => undefined);
    await test.event('stream-established');
    await test.stop({ keep: true });
    const again = await start({ directory: test.directory });
    const { logs } = again.owner;
    const records = await all(logs.list({ order: 'oldest', until: new Date() }));
    const ofFirst = records.map(({ operationName }) => operationName).slice(0, 4);
    expect(ofFirst).toEqual(['deviceConnect', 'invoke', 'streamClose', 'deviceDisconnect']);
    expect(propertiesOf(records[2] as ResourceLogRecord)).toMatchObject({ cause: 'shutting_down' });
    const [part = ''] = readdirSync(join(again.directory, 'logs'));
    expect(statSync(join(again.directory, 'logs', part)).mode & 0o777).toBe(0o600);
  });
});
