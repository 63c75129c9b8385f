import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CloseCause, ERRORS, type ErrorCode, type Identity, type ResourceLogRecord } from '@culvert/protocol';
import { FakeClock } from '@culvert/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import { EventBus } from '../event-bus.ts';
import { LiveStreams } from '../live-streams.ts';
import { LogStore } from '../log-store/log-store.ts';
import { loggedDisconnects } from '../log-store/logged-disconnect.ts';
import { maskedAddress } from './connection-entries.ts';
import type { LogRecord } from './log-entry.ts';
import { LogRecorder } from './recorder.ts';

const START = Date.UTC(2026, 0, 1, 23, 30);
let clock: FakeClock;
let bus: EventBus;
let onRecord: (record: LogRecord) => void;
let records: LogRecord[];

beforeEach(() => {
  clock = new FakeClock(START);
  bus = new EventBus();
  records = [];
  onRecord = (record) => records.push(record);
  const streams = new LiveStreams({ clock, onEvent: bus.emit, gateway: () => 'hub.example:443' });
  bus.subscribe(streams.observe);
  const resource = { resourceId: 'hub.example', location: 'Plant 3' };
  const isRegistered = ({ deviceId }: Identity) => deviceId === 'd';
  const recorder = new LogRecorder({ clock, streams, resource, isRegistered, onRecord: (record) => onRecord(record) });
  bus.subscribe(recorder.observe);
});

const properties = (json: string) =>
  JSON.parse((JSON.parse(json) as ResourceLogRecord).properties) as Record<string, unknown>;
const nothing = { bytes: 0, messages: 0 };

describe('refusals', () => {
  const refuse = (deviceId?: string) =>
    bus.emit({
      ...{
        type: 'connection-refused',
        listener: 'rest',
        remoteAddress: '192.0.2.1',
        error: 'unauthorized',
        detail: 'no',
      },
      ...(deviceId === undefined ? {} : { claimed: { deviceId } }),
    });

  it('are recorded three times a minute of one client, and how many were not is told with the next', async () => {
    for (let n = 0; n < 50; n++) refuse();
    expect(records.length).toBe(3);
    await clock.advance(60_000);
    refuse();
    refuse();
    expect(records.slice(3).map(({ json }) => properties(json)['unrecorded'])).toEqual([47, undefined]);
  });

  it('of a device that exists are recorded behind a flood of others', () => {
    for (let n = 0; n < 50; n++) refuse(`made-up-${n}`);
    for (let n = 0; n < 50; n++) refuse('d');
    expect(records.slice(3).map(({ deviceId, json }) => [deviceId, properties(json)['unrecorded']])).toEqual([
      ['d', 47],
      ['d', undefined],
    ]);
  });

  it('name the listener, and who the peer said it is', () => {
    const peer = { remoteAddress: '2001:db8:1:2::3', detail: 'a\nb' };
    bus.emit({ type: 'grant-refused', ...peer, error: 'grant_invalid' });
    bus.emit({
      ...{ type: 'connection-refused', listener: 'amqp', ...peer, error: 'revoked' },
      claimed: { deviceId: 'd', moduleId: 'm' },
    });
    expect(records.map(({ json }) => properties(json))).toMatchObject([
      { deviceId: null, protocol: 'gateway', error: 'grant_invalid', maskedIpAddress: '2001:db8:1::XXX' },
      { deviceId: 'd', moduleId: 'm', protocol: 'amqp', error: 'revoked', detail: 'a\\u000ab' },
    ]);
    expect(records[1]).toMatchObject({ deviceId: 'd', moduleId: 'm', category: 'Connections' });
  });
});

it.each([
  ['192.0.2.77', '192.0.2.XXX'],
  ['2001:db8:aaaa:bbbb::1', '2001:db8:aaaa::XXX'],
  ['fe80::1', 'fe80::XXX'],
  ['::1', '::XXX'],
  ['unknown', 'unknown'],
])('the address %s is masked as %s', (address, masked) => {
  expect(maskedAddress(address)).toBe(masked);
});

it('what ended cleanly is information, what did not a warning, what did not come about an error', () => {
  const ask = (streamId: string) =>
    bus.emit({
      ...{ type: 'stream-requested', deviceId: 'd', streamId, streamName: 's', caller: 'policy:service' },
      remoteAddress: '192.0.2.1',
    });
  const failures = ['rejected', 'withdrawn', 'device_offline', 'handshake_timeout', 'device_not_found'] as const;
  for (const error of failures) {
    ask(error);
    bus.emit({ type: 'stream-failed', deviceId: 'd', streamId: error, error, detail: 'why' });
  }
  expect(records.map(({ operation, level, error }) => [operation, level, error])).toEqual([
    ['invoke', 'Warning', 'rejected'],
    ['invoke', 'Warning', 'withdrawn'],
    ['invoke', 'Error', 'device_offline'],
    ['invoke', 'Error', 'handshake_timeout'],
    ['invoke', 'Error', 'device_not_found'],
  ]);
  records = [];
  const causes: readonly CloseCause[] = ['ended_by_device', 'lost_by_service', 'idle', 'closed_by_administrator'];
  for (const cause of causes) {
    ask(cause);
    const addresses = { deviceAddress: 'a', serviceAddress: 'b' };
    bus.emit({ type: 'stream-established', streamId: cause, ...addresses });
    const carried = { fromService: nothing, fromDevice: nothing, countedBytes: 0 };
    bus.emit({ type: 'stream-closed', streamId: cause, cause, established: true, durationMs: 1, ...carried });
  }
  const closes = records.filter(({ operation }) => operation === 'streamClose');
  expect(closes.map(({ level, error }) => [level, error])).toEqual([
    ['Information', undefined],
    ['Warning', 'stream_lost'],
    ['Warning', 'idle_timeout'],
    ['Warning', 'closed_by_administrator'],
  ]);
});

/** A small seeded random number generator (mulberry32), so that a failing run can be repeated. */
function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The expected fields of the record of one event. */
interface Happened {
  readonly time: number;
  readonly operation: string;
  readonly device: string;
  readonly stream?: string;
  readonly result: string;
  readonly cause?: string;
  readonly durationMs: number | undefined;
  readonly bytes?: readonly [number, number];
}

it('a simulated hour, over midnight, of mixed success and failure is in the store record by record', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-log-'));
  const retention = { days: 30, maxBytes: 2 ** 30 };
  const store = new LogStore({ directory, retention, clock, onEvent: bus.emit });
  onRecord = (record) => store.push(record);
  const random = seededRandom(42);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
  const happened: Happened[] = [];
  const scheduled: { at: number; step: () => void }[] = [];
  const later = (ms: number, step: () => void) => scheduled.push({ at: clock.now() + ms, step });
  const lastGone = new Map<string, { at: number; error: ErrorCode }>();
  let next = 0;

  const attach = (deviceId: string) => {
    const since = clock.now();
    const origin = { deviceId, protocol: 'amqp', principal: `device:${deviceId}`, remoteAddress: '192.0.2.1' } as const;
    bus.emit({ type: 'device-attached', ...origin });
    const what = { operation: 'deviceConnect', device: deviceId, result: '', durationMs: undefined };
    happened.push({ time: since, ...what });
    later(random() * 1_200_000, () => {
      const error = pick(['device_gone', 'keepalive_timeout', 'taken_over', 'draining'] as const);
      const time = clock.now();
      const connectedMs = time - since;
      bus.emit({ type: 'device-detached', ...origin, error, detail: 'gone', connectedMs });
      lastGone.set(deviceId, { at: time, error });
      const result = String(ERRORS[error].azure[0]);
      happened.push({ time, operation: 'deviceDisconnect', device: deviceId, result, durationMs: connectedMs });
    });
  };

  const ask = (deviceId: string) => {
    const streamId = (++next).toString(16).padStart(32, '0');
    const asked = clock.now();
    const of = { device: deviceId, stream: streamId };
    bus.emit({
      ...{ type: 'stream-requested', deviceId, streamId, streamName: 'ssh', caller: 'policy:service' },
      remoteAddress: '192.0.2.2',
    });
    if (random() < 0.4) {
      const error = pick(['device_offline', 'device_silent', 'withdrawn', 'too_many_requests', 'revoked'] as const);
      later(random() * 60_000, () => {
        bus.emit({ type: 'stream-failed', deviceId, streamId, error, detail: 'why' });
        const result = String(ERRORS[error].azure[0]);
        const cause = error === 'too_many_requests' ? 'refused' : error;
        const time = clock.now();
        happened.push({ time, operation: 'invoke', ...of, result, cause, durationMs: time - asked, bytes: [0, 0] });
      });
      return;
    }
    later(random() * 10_000, () => {
      const establishedAt = clock.now();
      bus.emit({ type: 'stream-established', streamId, deviceAddress: '192.0.2.1', serviceAddress: '192.0.2.2' });
      happened.push({
        time: establishedAt,
        operation: 'invoke',
        ...of,
        result: '',
        durationMs: establishedAt - asked,
        bytes: [0, 0],
      });
      later(random() * 600_000, () => {
        const [cause, error] = pick([
          ['ended_by_service', undefined],
          ['ended_by_device', undefined],
          ['lost_by_device', 'stream_lost'],
          ['stalled', 'stalled'],
          ['shutting_down', 'draining'],
        ] as const);
        const bytes = [Math.floor(random() * 1e9), Math.floor(random() * 1e9)] as const;
        const time = clock.now();
        bus.emit({
          ...{ type: 'stream-closed', streamId, cause, established: true, durationMs: time - establishedAt },
          ...{
            fromService: { bytes: bytes[0], messages: 1 },
            fromDevice: { bytes: bytes[1], messages: 1 },
            countedBytes: 128,
          },
        });
        const result = error === undefined ? '' : String(ERRORS[error].azure[0]);
        happened.push({
          time,
          operation: 'streamClose',
          ...of,
          result,
          cause,
          durationMs: time - establishedAt,
          bytes,
        });
      });
    });
  };

  // The clock advances by one second at a time; the steps due in a second run in the order in which they were scheduled.
  for (let second = 0; second < 3_600; second++) {
    await clock.advance(1_000);
    const due = scheduled.filter(({ at }) => at <= clock.now());
    for (const one of due) scheduled.splice(scheduled.indexOf(one), 1);
    for (const { step } of due) step();
    if (random() < 0.1) attach(`device-${Math.floor(random() * 20)}`);
    if (random() < 0.3) ask(`device-${Math.floor(random() * 20)}`);
  }

  const listed = async (filter: { deviceId?: string; category?: 'DeviceStreams' | 'Connections' }) => {
    const list: Happened[] = [];
    let after: Parameters<typeof store.list>[0]['after'];
    do {
      const page = await store.list({ ...filter, order: 'oldest', top: 100, after });
      for (const { json } of page.records) {
        const record = JSON.parse(json) as ResourceLogRecord;
        const { deviceId, streamId, cause, requestSize, responseSize } = properties(json);
        const stream = streamId === undefined ? {} : { stream: String(streamId) };
        list.push({
          ...{ time: Date.parse(record.time), operation: record.operationName, device: String(deviceId), ...stream },
          result: record.resultType,
          ...(cause === undefined ? {} : { cause: String(cause) }),
          durationMs: record.durationMs === '' ? undefined : Number(record.durationMs),
          ...(requestSize === undefined ? {} : { bytes: [Number(requestSize), Number(responseSize)] as const }),
        });
      }
      after = page.next;
    } while (after !== undefined);
    return list;
  };
  expect(happened.length).toBeGreaterThan(1_500);
  expect(await listed({})).toEqual(happened);
  const isStream = ({ operation }: Happened) => operation === 'invoke' || operation === 'streamClose';
  expect(await listed({ category: 'DeviceStreams' })).toEqual(happened.filter(isStream));
  expect(await listed({ deviceId: 'device-3' })).toEqual(happened.filter(({ device }) => device === 'device-3'));
  const lastDisconnect = loggedDisconnects(store);
  for (const [deviceId, gone] of lastGone) {
    expect(await lastDisconnect({ deviceId })).toEqual({ ...gone, detail: 'gone', protocol: 'amqp' });
  }
  expect(await lastDisconnect({ deviceId: 'nobody' })).toBe(undefined);
  expect(await lastDisconnect({ deviceId: 'device-3', moduleId: 'm' })).toBe(undefined);
  await store.close();
  rmSync(directory, { recursive: true });
});
