import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { DeviceClient, type StreamOffer } from '@culvert/device';
import {
  type AuditRecord,
  CulvertError,
  type DeviceNotice,
  formatDeviceConnectionString,
  type StreamNotice,
} from '@culvert/protocol';
import { ServiceClient } from '@culvert/service';
import { systemClock } from '@culvert/stream';
import { echoOffer, FakeClock, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let test: TestHub;
let monitor: ServiceClient;
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  test = await startHub();
  monitor = ServiceClient.fromConnectionString(await test.policy('monitor'), { outbound: test.outbound });
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  monitor.close();
  await test.stop();
});

async function attach(deviceId: string, onStream: (offer: StreamOffer) => Promise<void> = echoOffer) {
  const { outbound } = test;
  const device = DeviceClient.fromConnectionString(await test.createDevice(deviceId), { onStream, outbound });
  cleanups.push(() => device.close());
  await device.open();
  return device;
}

async function connectionStringOf(deviceId: string): Promise<string> {
  const { authentication } = await test.owner.devices.get(deviceId);
  const { primaryKey: key } = authentication.symmetricKey;
  return formatDeviceConnectionString({ host: '127.0.0.1', port: test.port, deviceId, key });
}

async function open(deviceId: string, name = 'x'): Promise<{ stream: Duplex; streamId: string }> {
  const seen = test.events.length;
  const stream = await test.owner.openStream(deviceId, { name });
  cleanups.push(() => stream.destroy());
  const established = await test.event('stream-established', (event) => test.events.indexOf(event) >= seen);
  return { stream, streamId: established.streamId };
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

/** Reads notices until one matches, and returns all of them. */
async function until<T>(notices: AsyncGenerator<T>, matches: (notice: T) => boolean): Promise<T[]> {
  const seen: T[] = [];
  for (;;) {
    const next = await notices.next();
    if (next.done) throw new Error('It ended.');
    seen.push(next.value);
    if (matches(next.value)) return seen;
  }
}

describe('the streams there are', () => {
  it('are listed with who, whence and how much, and shown one by one', async () => {
    await attach('d');
    const { stream, streamId } = await open('d', 'ssh');
    stream.write('hello');
    await once(stream, 'data');
    const [shown, ...others] = await all(monitor.streams.list());
    expect(others).toEqual([]);
    expect(shown).toMatchObject({
      ...{ streamId, streamName: 'ssh', deviceId: 'd', moduleId: null, state: 'established' },
      ...{ caller: 'policy:iothubowner', callerAddress: '127.0.0.1', gateway: `127.0.0.1:${test.port}` },
      ...{ protocol: 'mqtt-ws', serviceAddress: '127.0.0.1', deviceAddress: '127.0.0.1' },
      ...{ fromService: { bytes: 5, messages: 1 }, fromDevice: { bytes: 5, messages: 1 } },
      establishedAt: expect.stringMatching(/^\d{4}-.*Z$/),
    });
    expect(await monitor.streams.get(streamId)).toEqual(shown);
    const noSuch = monitor.streams.get('0'.repeat(32));
    await expect(noSuch).rejects.toMatchObject({ code: 'stream_not_found' });
    stream.end();
    await test.event('stream-ended');
    await expect(monitor.streams.get(streamId)).rejects.toMatchObject({ code: 'stream_not_found' });
  });

  it('are found by device and caller, and come in pages that no end shifts', async () => {
    await Promise.all(['a', 'b'].map((deviceId) => attach(deviceId)));
    const opened = [];
    for (const deviceId of ['a', 'b', 'a', 'a']) opened.push(await open(deviceId));
    const ids = opened.map(({ streamId }) => streamId);
    const list = async (filter: object) => (await all(monitor.streams.list(filter))).map(({ streamId }) => streamId);
    expect(new Set(await list({}))).toEqual(new Set(ids));
    expect(await list({ deviceId: 'b' })).toEqual([ids[1]]);
    expect(await list({ deviceId: 'a', moduleId: 'm' })).toEqual([]);
    expect(await list({ caller: 'policy:iothubowner' })).toHaveLength(4);
    expect(await list({ caller: 'policy:service' })).toEqual([]);
  });
});

describe('an administrator who closes a stream', () => {
  it('ends both sides, and both learn why', async () => {
    let resolveError: (error: Error) => void = () => undefined;
    const deviceError = new Promise<Error>((resolve) => {
      resolveError = resolve;
    });
    await attach('d', async (offer) => {
      const stream = await offer.accept();
      stream.on('error', resolveError).resume();
    });
    const { stream, streamId } = await open('d');
    const serviceError = once(stream.resume(), 'error');
    await test.owner.streams.close(streamId, 'maintenance at noon');
    const why = {
      code: 'closed_by_administrator',
      message: 'An administrator closed the stream: maintenance at noon',
    };
    expect([await deviceError, (await serviceError)[0]]).toMatchObject([why, why]);
    const { record } = await test.event('stream-ended');
    expect(record).toMatchObject({ cause: 'closed_by_administrator', error: why.code, detail: why.message });
    const asking = await test.event('stream-close-requested');
    expect(asking).toMatchObject({ deviceId: 'd', principal: 'policy:iothubowner', reason: 'maintenance at noon' });
    await test.hub.settled();
    const audited: AuditRecord[] = [];
    for await (const one of test.owner.audit.list({ type: 'stream-close-requested' })) audited.push(one);
    const { principal, reason, remoteAddress } = asking;
    expect(audited).toMatchObject([{ streamId, deviceId: 'd', principal, reason, remoteAddress }]);
    await expect(test.owner.streams.close(streamId)).rejects.toMatchObject({ code: 'stream_not_found' });
  });

  it('ends one that is being offered: the caller is told at once, the device when it accepts', async () => {
    let offered: (offer: StreamOffer) => void = () => undefined;
    const offer = new Promise<StreamOffer>((resolve) => {
      offered = resolve;
    });
    // The promise stays pending, because the device client would reject an unanswered offer when the callback returns.
    await attach('d', (one) => new Promise(() => offered(one)));
    const refused = test.owner.openStream('d', { name: 'x' }).catch((error: unknown) => error);
    const { streamId } = await test.event('stream-offered');
    expect(await monitor.streams.get(streamId)).toMatchObject({ state: 'offered', answeredAt: null });
    await test.owner.streams.close(streamId, 'not now');
    const why = { code: 'closed_by_administrator', message: 'An administrator closed the stream: not now' };
    expect(await refused).toMatchObject(why);
    await expect((await offer).accept()).rejects.toMatchObject(why);
    expect((await test.event('stream-ended')).record).toMatchObject({ cause: why.code, detail: why.message });
    expect(await all(monitor.streams.list())).toEqual([]);
  });

  it('may not be one who only looks on', async () => {
    await attach('d');
    const { streamId } = await open('d');
    await expect(monitor.streams.close(streamId)).rejects.toMatchObject({ code: 'forbidden' });
  });
});

describe('who follows streams', () => {
  it('is told what there is, then ready, then every change, the counters and the end', async () => {
    await attach('d');
    const before = await open('d', 'before');
    const notices = monitor.streams.follow();
    cleanups.push(() => notices.return());
    const isReady = ({ event }: { event: string }) => event === 'ready';
    expect(await until(notices, isReady)).toMatchObject([
      { event: 'stream', data: { streamId: before.streamId, state: 'established' } },
      { event: 'ready' },
    ]);
    const { stream, streamId } = await open('d', 'new');
    const isCounters = ({ event }: { event: string }) => event === 'counters';
    stream.write('four');
    const seen = await until(notices, isCounters);
    const states = seen.flatMap((notice) => (notice.event === 'stream' ? [notice.data.state] : []));
    expect([states[0], states.at(-1)]).toEqual(['requested', 'established']);
    expect(seen.at(-1)).toMatchObject({ data: [{ streamId, fromService: { bytes: 4, messages: 1 } }] });
    stream.end();
    const [last] = (await until(notices, ({ event }) => event === 'ended')).slice(-1);
    expect(last).toMatchObject({ data: { streamId, cause: 'ended_by_service', fromService: { bytes: 4 } } });
  });

  it('of one device is not told of others', async () => {
    await Promise.all(['a', 'b'].map((deviceId) => attach(deviceId)));
    const notices = monitor.streams.follow({ deviceId: 'b' });
    cleanups.push(() => notices.return());
    await notices.next();
    await open('a');
    await open('b');
    const next = await notices.next();
    expect(next.value).toMatchObject({ event: 'stream', data: { deviceId: 'b', state: 'requested' } });
  });

  it('is told why it is told no more: a key removed, the hub stopped', async () => {
    const isReady = ({ event }: StreamNotice) => event === 'ready';
    const service = ServiceClient.fromConnectionString(test.ownerConnectionString, { outbound: test.outbound });
    cleanups.push(() => service.close());
    const revoked = monitor.streams.follow();
    await until(revoked, isReady);
    const drained = service.streams.follow();
    await until(drained, isReady);
    // Two rotations, because the first one keeps the old key as the secondary key.
    await test.owner.policies.rotate('monitor');
    await test.owner.policies.rotate('monitor');
    await expect(revoked.next()).rejects.toMatchObject({ code: 'revoked' });
    const stopped = test.hub.stop(0);
    await expect(drained.next()).rejects.toMatchObject({ code: 'draining' });
    await stopped;
  });

  it('goes on when its token expires', async () => {
    const clock = new FakeClock(Date.now());
    const hub = await startHub({ clock });
    cleanups.push(() => hub.stop());
    // Tokens must expire by the hub's fake time. With the system time they would be valid for longer, by the time that the hub took to start.
    const service = ServiceClient.fromConnectionString(hub.ownerConnectionString, {
      outbound: hub.outbound,
      clock: { now: () => clock.now(), setTimer: systemClock.setTimer },
    });
    cleanups.push(() => service.close());
    const notices = service.streams.follow();
    expect(await notices.next()).toMatchObject({ value: { event: 'ready' } });
    // The token is valid for one hour, and the hub allows five minutes more, because clocks may differ.
    await clock.advance(3_901_000);
    expect(await notices.next()).toMatchObject({ value: { event: 'ready' } });
  });

  it('ends with its client, and with its signal', async () => {
    const aborting = new AbortController();
    const one = monitor.streams.follow({}, aborting.signal);
    await one.next();
    aborting.abort(new CulvertError('aborted', 'enough'));
    await expect(one.next()).rejects.toMatchObject({ code: 'aborted', message: 'enough' });
    const two = monitor.streams.follow();
    await two.next();
    monitor.close();
    await expect(two.next()).rejects.toMatchObject({ code: 'aborted' });
  });
});

describe('presence', () => {
  it('says since when, by what and from where, and why it last went', async () => {
    const device = await attach('d');
    expect(await monitor.devices.presence('d')).toMatchObject({
      ...{ deviceId: 'd', moduleId: null, online: true, protocol: 'mqtt-ws', address: '127.0.0.1' },
      ...{ principal: 'device:d', takesOffers: true, streams: 0, last: null },
      since: expect.stringMatching(/Z$/),
    });
    await open('d');
    expect(await monitor.devices.presence('d')).toMatchObject({ streams: 1 });
    await device.close();
    await test.event('device-detached');
    const gone = await monitor.devices.presence('d');
    expect(gone).toMatchObject({
      ...{ online: false, protocol: null, address: null, takesOffers: false },
      last: { error: 'device_gone', protocol: 'mqtt-ws', at: gone.since },
    });
    await expect(monitor.devices.presence('nobody')).rejects.toMatchObject({ code: 'device_not_found' });
    await test.createDevice('never');
    expect(await monitor.devices.presence('never')).toMatchObject({ online: false, since: null, last: null });
  });

  it('is followed: who is there, then who comes and goes, and a newer connection is no going', async () => {
    await attach('a');
    const notices = monitor.devices.subscribeToPresence();
    cleanups.push(() => notices.return());
    const isReady = ({ event }: { event: string }) => event === 'ready';
    expect(await until(notices, isReady)).toMatchObject([
      { event: 'online', data: { deviceId: 'a', takesOffers: true } },
      { event: 'ready' },
    ]);
    const isOf = (deviceId: string, event: DeviceNotice['event']) => (notice: DeviceNotice) =>
      notice.event === event && 'deviceId' in notice.data && notice.data.deviceId === deviceId;
    const device = await attach('b');
    await until(notices, isOf('b', 'online'));
    await device.close();
    const seen = await until(notices, isOf('b', 'offline'));
    expect(seen.at(-1)).toMatchObject({ data: { online: false, last: { error: 'device_gone' } } });
    const { outbound } = test;
    const newer = DeviceClient.fromConnectionString(await connectionStringOf('a'), { onStream: echoOffer, outbound });
    cleanups.push(() => newer.close());
    await newer.open();
    await test.event('device-detached', ({ error }) => error === 'taken_over');
    await newer.close();
    const after = await until(notices, isOf('a', 'offline'));
    expect(after.filter(isOf('a', 'offline'))).toHaveLength(1);
    expect(after.at(-1)).toMatchObject({ data: { last: { error: 'device_gone' } } });
  });

  it('leaves a device that is called events its place', async () => {
    await test.createDevice('events');
    expect(await test.owner.devices.get('events')).toMatchObject({ deviceId: 'events' });
  });
});
