import { FakeClock } from '@culvert/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import { EventBus } from './event-bus.ts';
import type { HubEvent } from './events.ts';
import { LiveStreams } from './live-streams.ts';

let clock: FakeClock;
let bus: EventBus;
let streams: LiveStreams;
let seen: HubEvent[];

beforeEach(() => {
  clock = new FakeClock(1_000);
  bus = new EventBus();
  streams = new LiveStreams({ clock, onEvent: bus.emit, gateway: () => 'hub.example:443' });
  seen = [];
  bus.subscribe(streams.observe);
  // Subscribed after `streams`, which emits events itself: this subscriber must still receive all events in order.
  bus.subscribe((event) => seen.push(event));
});

const identity = { deviceId: 'd', moduleId: 'm' };
const asked = (streamId = '1') =>
  bus.emit({
    type: 'stream-requested',
    ...identity,
    streamId,
    streamName: 'ssh',
    caller: 'policy:service',
    remoteAddress: '192.0.2.1',
    traceParent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`,
  });
const answered = (accepted: boolean, reason?: string) =>
  bus.emit({
    ...{ type: 'stream-answered', ...identity, streamId: '1', accepted },
    ...(reason === undefined ? {} : { reason }),
    ...{ protocol: 'amqp', remoteAddress: '198.51.100.1', principal: 'module:d/m' },
  });
const ended = () => seen.flatMap((event) => (event.type === 'stream-ended' ? [event.record] : []));

describe('the life of a stream', () => {
  it('is told whole when it is over', async () => {
    asked();
    await clock.advance(5);
    bus.emit({ type: 'stream-offered', ...identity, streamId: '1' });
    await clock.advance(10);
    answered(true);
    bus.emit({ type: 'connection-waiting', streamId: '1', side: 'device', remoteAddress: '198.51.100.2' });
    await clock.advance(20);
    bus.emit({ type: 'connection-waiting', streamId: '1', side: 'service', remoteAddress: '192.0.2.2' });
    bus.emit({
      ...{ type: 'stream-established', streamId: '1' },
      ...{ deviceAddress: '198.51.100.2', serviceAddress: '192.0.2.2' },
    });
    expect(streams.list()).toMatchObject([{ streamId: '1', establishedAt: 1_035 }]);
    await clock.advance(100);
    const [fromService, fromDevice] = [
      { bytes: 3, messages: 1 },
      { bytes: 70_000, messages: 2 },
    ];
    bus.emit({
      ...{ type: 'stream-closed', streamId: '1', cause: 'ended_by_device', established: true, durationMs: 100 },
      ...{ fromService, fromDevice, countedBytes: 0 },
    });
    expect(ended()).toEqual([
      {
        ...identity,
        streamId: '1',
        streamName: 'ssh',
        caller: 'policy:service',
        callerAddress: '192.0.2.1',
        traceParent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`,
        gateway: 'hub.example:443',
        requestedAt: 1_000,
        offeredAt: 1_005,
        answeredAt: 1_015,
        answeredBy: { principal: 'module:d/m', protocol: 'amqp', remoteAddress: '198.51.100.1' },
        establishedAt: 1_035,
        serviceAddress: '192.0.2.2',
        deviceAddress: '198.51.100.2',
        endedAt: 1_135,
        cause: 'ended_by_device',
        error: undefined,
        detail: 'The device ended it.',
        fromService,
        fromDevice,
        countedBytes: 0,
      },
    ]);
    expect(seen.map(({ type }) => type).slice(-2)).toEqual(['stream-closed', 'stream-ended']);
    expect(streams.size).toBe(0);
  });

  it('ends with the reason the device gave when it rejects, once', () => {
    asked();
    answered(false, 'only ssh here');
    const nothing = { bytes: 0, messages: 0 };
    bus.emit({
      ...{ type: 'stream-closed', streamId: '1', cause: 'rejected', established: false, durationMs: 1 },
      ...{ fromService: nothing, fromDevice: nothing, countedBytes: 0 },
    });
    expect(ended()).toMatchObject([{ cause: 'rejected', error: 'rejected', detail: 'only ssh here' }]);
  });

  it.each([
    ['device_offline', 'device_offline'],
    ['device_silent', 'device_silent'],
    ['device_gone', 'lost_by_device'],
    ['withdrawn', 'withdrawn'],
    ['handshake_timeout', 'handshake_timeout'],
    ['revoked', 'revoked'],
    ['draining', 'shutting_down'],
    ['too_many_requests', 'refused'],
    ['device_not_found', 'refused'],
  ] as const)('that failed with %s has the cause %s', (error, cause) => {
    asked();
    bus.emit({ type: 'stream-failed', ...identity, streamId: '1', error, detail: 'why' });
    expect(ended()).toMatchObject([{ error, cause, detail: 'why', fromService: { bytes: 0 } }]);
  });

  it('is nobody else’s, and what comes after its end is not heard', () => {
    asked('1');
    asked('2');
    bus.emit({ type: 'stream-failed', ...identity, streamId: '1', error: 'withdrawn', detail: '' });
    bus.emit({ type: 'stream-failed', ...identity, streamId: '1', error: 'internal', detail: '' });
    expect(ended().map(({ streamId }) => streamId)).toEqual(['1']);
    expect(streams.list().map(({ streamId }) => streamId)).toEqual(['2']);
  });
});
