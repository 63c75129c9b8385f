import {
  type AuditRecord,
  type ConnectionClaim,
  formatAnnouncement,
  formatSessionReport,
  SESSION_REPORT_LIMITS,
  type SessionReport,
  type StreamNotice,
} from '@culvert/protocol';
import { type OpenedSessionStream, ServiceClient } from '@culvert/service';
import { dialStream } from '@culvert/stream';
import { FakeClock, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AttachSessionDevice, attachAmqp, attachMqtt, type SessionDevice } from './session-device.fixture.ts';

const ID = 'ab'.repeat(16);
const ANNOUNCED = formatAnnouncement({ session: { lowest: 1, highest: 1, encrypted: true } });

let test: TestHub;
let clock: FakeClock;
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  clock = new FakeClock(Math.floor(Date.now() / 1000) * 1000);
  test = await startHub({ clock, config: { mqttListen: '127.0.0.1:0', amqpListen: '127.0.0.1:0' } });
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await test.stop();
});

async function attach(how: AttachSessionDevice = attachMqtt(5)): Promise<SessionDevice> {
  const device = await how(test, clock.now() + 3_600_000, ANNOUNCED);
  cleanups.push(() => device.drop());
  return device;
}

/** Opens a stream that carries a session, or a raw one, up to both ends. */
async function open(device: SessionDevice, id = ID, answer: string | undefined = 'version=1; encrypted=1') {
  const session = { id, lowest: 1, highest: 1, encrypted: true };
  const opening = test.owner.openSessionStream('d', { name: 'ssh', session });
  const offer = await device.nextOffer();
  device.accept(offer, answer === '' ? undefined : answer);
  const end = await dialStream(offer.grant, { outbound: test.outbound });
  const opened: OpenedSessionStream = await opening;
  for (const stream of [end, opened.stream]) {
    stream.on('error', () => undefined);
    cleanups.push(() => stream.destroy());
  }
  const streamId = opened.streamId ?? '';
  await test.event('stream-established', (event) => event.streamId === streamId);
  return { streamId, stream: opened.stream };
}

const opened = Date.UTC(2026, 0, 1);
const closedClaim: ConnectionClaim = { id: 1, service: 'ssh', opened, closed: opened + 5_000, sent: 10, received: 20 };
const openClaim: ConnectionClaim = { id: 3, service: 'web', opened, sent: 1, received: 2 };
const report = (over: Partial<SessionReport> = {}): SessionReport => ({
  ...{ session: ID, connections: [{ ...closedClaim, reason: 'reset' }, openClaim], ...over },
});

async function logged() {
  const found = [];
  for await (const { operationName, durationMs, category, properties } of test.owner.logs.list({ device: 'd' }))
    if (operationName === 'connectionClose') found.push({ durationMs, category, ...JSON.parse(properties) });
  return found;
}

async function audited(): Promise<AuditRecord[]> {
  const found = [];
  for await (const record of test.owner.audit.list({ type: 'session-reported', device: 'd' })) found.push(record);
  return found;
}

const reported = () => test.events.filter(({ type }) => type === 'session-reported');

async function dropped(): Promise<Record<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${test.hub.adminAddress.port}/metrics`)).text();
  const lines = text.matchAll(/^culvert_session_reports_dropped_total\{reason="(\w+)"\} (\d+)$/gm);
  return Object.fromEntries([...lines].map(([, reason, count]) => [reason, Number(count)]));
}

describe.each([
  ['MQTT 5', attachMqtt(5)],
  ['AMQP', attachAmqp],
] as const)('a device over %s', (_, how) => {
  it('claims what is then in log, audit and live view, marked as its claim', async () => {
    const device = await attach(how);
    const { streamId } = await open(device);
    await device.report(formatSessionReport(report()));
    expect(await test.event('session-reported')).toMatchObject({
      ...{ deviceId: 'd', sessionId: ID, streamId, claimedBy: 'device', caller: 'policy:iothubowner' },
      connections: report().connections,
    });
    expect(await logged()).toMatchObject([
      {
        ...{ category: 'DeviceStreams', durationMs: '5000', deviceId: 'd', moduleId: null, requestName: 'ssh' },
        ...{ streamId, sessionId: ID, caller: 'policy:iothubowner', claimedBy: 'device', connection: 1 },
        ...{ openedAt: '2026-01-01T00:00:00.000Z', closedAt: '2026-01-01T00:00:05.000Z' },
        ...{ bytesSent: 10, bytesReceived: 20, reason: 'reset', unrecorded: 0 },
      },
    ]);
    expect(await audited()).toMatchObject([
      {
        ...{ sessionId: ID, streamId, deviceId: 'd', caller: 'policy:iothubowner', claimedBy: 'device' },
        connections: [{ id: 1, service: 'ssh', closedAt: '2026-01-01T00:00:05.000Z', sent: 10, received: 20 }],
      },
    ]);
    const claims = { sessionId: ID, deviceId: 'd', moduleId: null, caller: 'policy:iothubowner', claimedBy: 'device' };
    expect(await test.owner.streams.get(streamId)).toMatchObject({
      claims: [{ ...claims, at: new Date(clock.now()).toISOString(), connections: report().connections }],
    });
  });

  it('is heard once in ten seconds, about its own sessions only, and never harmed', async () => {
    const device = await attach(how);
    await open(device);
    await device.report('{');
    await device.report(' '.repeat(SESSION_REPORT_LIMITS.bytes + 1));
    await device.report(formatSessionReport(report({ session: 'cd'.repeat(16) })));
    const text = formatSessionReport(report());
    await device.report(text);
    await clock.advance(SESSION_REPORT_LIMITS.intervalMs - 1);
    await device.report(text);
    expect(reported()).toHaveLength(1);
    expect(await dropped()).toEqual({ malformed: 2, unknown_session: 1, too_often: 1 });
    await clock.advance(1);
    await device.report(text);
    expect(reported()).toHaveLength(2);
  });
});

it('a device over MQTT 3.1.1, and one with a raw stream, report nothing', async () => {
  const old = await attachMqtt(4)(test, clock.now() + 3_600_000);
  cleanups.push(() => old.drop());
  await old.report(formatSessionReport(report()));
  expect(await dropped()).toEqual({ malformed: 0, unknown_session: 0, too_often: 0 });
  await test.owner.devices.delete('d');
  const device = await attach();
  await open(device, ID, '');
  await device.report(formatSessionReport(report()));
  expect([reported(), await dropped()]).toMatchObject([[], { unknown_session: 1 }]);
});

it('a device that reports at any rate is read ten times at once, and then once a second', async () => {
  const device = await attach();
  await open(device);
  const other = formatSessionReport(report({ session: 'cd'.repeat(16) }));
  for (let times = 0; times < 12; times++) await device.report(other);
  expect(await dropped()).toMatchObject({ unknown_session: 10, too_often: 2 });
  await clock.advance(1_000);
  await device.report(formatSessionReport(report()));
  expect(reported()).toHaveLength(1);
});

it('a device that invents connections fills no log: 200 at once, and then one a second', async () => {
  const device = await attach();
  await open(device);
  const connections = Array.from({ length: 100 }, (_, index) => ({ ...closedClaim, id: 2 * index + 1 }));
  for (let times = 0; times < 3; times++) {
    await device.report(formatSessionReport(report({ connections })));
    await clock.advance(SESSION_REPORT_LIMITS.intervalMs);
  }
  // Twenty more in the twenty seconds between the first report and the third.
  await device.report(formatSessionReport(report({ connections: [closedClaim] })));
  expect((await logged()).map(({ unrecorded }) => unrecorded).filter((count) => count > 0)).toEqual([80]);
  expect(await logged()).toHaveLength(221);
});

describe('a service', () => {
  it('reports on a session of its own, also just after its stream was lost', async () => {
    const device = await attach();
    const { streamId, stream } = await open(device);
    await test.owner.reportSession(streamId, report());
    expect(await test.event('session-reported')).toMatchObject({ claimedBy: 'service', sessionId: ID });
    expect(await logged()).toMatchObject([{ claimedBy: 'service', connection: 1 }]);
    expect(await test.owner.streams.get(streamId)).toMatchObject({ claims: [{ claimedBy: 'service' }] });
    // The other end has an interval of its own.
    await device.report(formatSessionReport(report()));
    expect(await test.owner.streams.get(streamId)).toMatchObject({
      claims: [{ claimedBy: 'service' }, { claimedBy: 'device' }],
    });
    await expect(test.owner.reportSession(streamId, report())).rejects.toMatchObject({ code: 'too_many_requests' });
    expect(await dropped()).toMatchObject({ too_often: 1 });
    stream.destroy();
    await test.event('stream-ended');
    await clock.advance(SESSION_REPORT_LIMITS.intervalMs);
    await test.owner.reportSession(streamId, report());
    expect(reported()).toHaveLength(3);
  });

  it('reports on nothing else', async () => {
    const device = await attach();
    const { streamId } = await open(device);
    const raw = await open(device, 'cd'.repeat(16), '');
    const other = ServiceClient.fromConnectionString(await test.policy('service'), { outbound: test.outbound });
    const monitor = ServiceClient.fromConnectionString(await test.policy('monitor'), { outbound: test.outbound });
    cleanups.push(
      () => other.close(),
      () => monitor.close(),
    );
    const codeOf = (attempt: Promise<void>) => attempt.then(() => 'taken').catch(({ code }) => code);
    expect(await codeOf(other.reportSession(streamId, report()))).toBe('stream_not_found');
    expect(await codeOf(monitor.reportSession(streamId, report()))).toBe('forbidden');
    expect(await codeOf(test.owner.reportSession(raw.streamId, report()))).toBe('stream_not_found');
    expect(await codeOf(test.owner.reportSession('0'.repeat(32), report()))).toBe('stream_not_found');
    const foreign = report({ session: 'cd'.repeat(16) });
    expect(await codeOf(test.owner.reportSession(streamId, foreign))).toBe('argument_invalid');
    const many = Array.from({ length: 101 }, () => openClaim);
    expect(await codeOf(test.owner.reportSession(streamId, report({ connections: many })))).toBe('argument_invalid');
    expect(await codeOf(test.owner.reportSession('x', report()))).toBe('argument_invalid');
    expect(reported()).toEqual([]);
  });
});

it('those who follow the streams see the claims', async () => {
  const device = await attach();
  await open(device);
  const following = test.owner.streams.follow({ deviceId: 'd' });
  const next = async (event: StreamNotice['event']) => {
    for (;;) {
      const { value } = await following.next();
      if (value?.event === event) return value.data;
    }
  };
  await next('ready');
  await device.report(formatSessionReport(report()));
  expect(await next('claims')).toMatchObject({ sessionId: ID, claimedBy: 'device', connections: report().connections });
  await following.return();
});
