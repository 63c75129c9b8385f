import { once } from 'node:events';
import { request } from 'node:https';
import type { Duplex } from 'node:stream';
import { DeviceClient, type StreamOffer } from '@culvert/device';
import {
  type AuditRecord,
  type AuditValue,
  type CloseCause,
  parseServiceConnectionString,
  type ResourceLogRecord,
  type StreamView,
  signSasToken,
  streamRequestPath,
} from '@culvert/protocol';
import { ServiceClient } from '@culvert/service';
import type { Clock } from '@culvert/stream';
import { FakeClock, startHub, type TestHub } from '@culvert/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StreamRecord } from '../src/observe/stream-record.ts';

/** The fields of a stream that every view contains and that are compared. Times are in milliseconds since the epoch. */
interface Row {
  readonly name: string;
  readonly device: string;
  readonly caller: string;
  readonly cause: string;
  readonly requestedAt: number;
  readonly establishedAt: number | undefined;
  readonly endedAt: number;
  readonly fromService: number;
  readonly fromDevice: number;
}

/** Milliseconds between two streams. */
const STEP_MS = 41_000;

const clock = new FakeClock(Math.floor(Date.now() / 1_000) * 1_000);
/** The streams that the test made, in order. Every view of the hub must contain exactly these. */
const ledger: Row[] = [];
let test: TestHub;
let owner: ServiceClient;
let metrics: string;
const beforeStop: AuditRecord[] = [];
const logged: ResourceLogRecord[] = [];
const openNow: StreamView[] = [];

async function onStream(offer: StreamOffer): Promise<void> {
  if (offer.name.endsWith('-reject')) return offer.reject('not today');
  // Never answers the offer.
  if (offer.name.endsWith('-silent')) return new Promise(() => undefined);
  if (offer.name.endsWith('-torn')) {
    const socket = await offer.acceptWebSocket();
    socket.on('error', () => undefined);
    // Terminates the connection after the first message, when the stream is established.
    socket.once('message', () => socket.terminate());
    return socket.resume();
  }
  const stream = await offer.accept();
  stream.on('error', () => stream.destroy());
  if (offer.name.endsWith('-farewell')) stream.resume().end('bye');
  else stream.pipe(stream);
}

/** Requests a stream, makes it end in one way, and returns the fields that every view must contain for it. */
type Scenario = (name: string) => Promise<{ cause: CloseCause } & Partial<Row>>;

const fails = (promise: Promise<unknown>) => expect(promise).rejects.toThrow();
const carried = (length: number) => ({ fromService: length, fromDevice: length });

/** Sends `length` bytes and waits until the same number of bytes is received. */
async function exchange(stream: Duplex, length: number): Promise<void> {
  let got = 0;
  stream.write(Buffer.alloc(length, 7));
  while (got < length) got += ((await once(stream, 'data')) as [Buffer])[0].length;
}

async function openFor(name: string, length: number): Promise<Duplex> {
  const stream = await owner.openStream('press-7', { name });
  stream.on('error', () => stream.destroy());
  await exchange(stream, length);
  return stream;
}

/** Requests a stream and does not use the grant. */
async function askAndStayAway(name: string): Promise<void> {
  const { host, policy, key } = parseServiceConnectionString(test.ownerConnectionString);
  const expiry = Math.floor(clock.now() / 1_000) + 600;
  const authorization = await signSasToken({ audience: `${host}:${test.port}`, policy, key, expiry });
  const path = streamRequestPath({ deviceId: 'press-7' }, name);
  const call = request({
    host,
    port: test.port,
    ca: test.ca,
    agent: false,
    method: 'POST',
    path,
    headers: { authorization },
  });
  const [answer] = await once(call.end(), 'response');
  answer.resume();
}

const SCENARIOS: Record<string, Scenario> = {
  async echo(name) {
    const stream = await openFor(name, 1_000);
    await clock.advance(2_000);
    stream.end();
    return { cause: 'ended_by_service', ...carried(1_000) };
  },
  async farewell(name) {
    const stream = await owner.openStream('press-7', { name });
    stream.resume();
    await once(stream, 'end');
    stream.end();
    return { cause: 'ended_by_device', fromDevice: 3 };
  },
  async reject(name) {
    await fails(owner.openStream('press-7', { name }));
    return { cause: 'rejected' };
  },
  async offline(name) {
    await fails(owner.openStream('asleep', { name, connectTimeoutMs: 0 }));
    return { cause: 'device_offline', device: 'asleep' };
  },
  async unknown(name) {
    await fails(owner.openStream('nobody', { name }));
    return { cause: 'refused', device: 'nobody' };
  },
  async silent(name) {
    const asked = fails(owner.openStream('press-7', { name, connectTimeoutMs: 0, responseTimeoutMs: 3_000 }));
    await offered(name);
    await clock.advance(3_000);
    await asked;
    return { cause: 'device_silent' };
  },
  async 'withdraw-silent'(name) {
    const caller = new AbortController();
    const asked = fails(owner.openStream('press-7', { name, signal: caller.signal }));
    await offered(name);
    caller.abort();
    await asked;
    return { cause: 'withdrawn' };
  },
  async hangup(name) {
    const socket = await owner.openWebSocket('press-7', { name });
    socket.on('error', () => undefined);
    socket.terminate();
    return { cause: 'lost_by_service' };
  },
  async torn(name) {
    const stream = await owner.openStream('press-7', { name });
    stream.on('error', () => stream.destroy());
    stream.write('0123456789');
    return { cause: 'lost_by_device', fromService: 10 };
  },
  async disabled(name) {
    await openFor(name, 10);
    const device = await owner.devices.get('press-7');
    await owner.devices.update({ ...device, status: 'disabled' });
    return { cause: 'revoked', ...carried(10) };
  },
  async stayaway(name) {
    await askAndStayAway(name);
    const { streamId } = await test.event('stream-requested', ({ streamName }) => streamName === name);
    await test.event('connection-waiting', (event) => event.streamId === streamId);
    // The time advances in steps, so that the pings of the waiting connection can be answered over the real network between them.
    for (let step = 0; step < 12; step++) {
      await clock.advance(5_000);
      await owner.endpoints();
    }
    return { cause: 'handshake_timeout' };
  },
};

async function offered(name: string): Promise<void> {
  const { streamId } = await test.event('stream-requested', ({ streamName }) => streamName === name);
  await test.event('stream-offered', (event) => event.streamId === streamId);
}

async function perform(kind: string, scenario: Scenario): Promise<void> {
  const name = `s${ledger.length}-${kind}`;
  const requestedAt = clock.now();
  const expected = await scenario(name);
  const { record } = await test.event('stream-ended', (event) => event.record.streamName === name);
  const fromHub = { establishedAt: record.establishedAt, endedAt: record.endedAt };
  const plain = { name, device: 'press-7', caller: 'policy:iothubowner', fromService: 0, fromDevice: 0 };
  ledger.push({ ...plain, requestedAt, ...fromHub, ...expected });
}

/** The device's timers fire one second late, so that of two deadlines at the same time the hub's is the first. */
const deviceClock: Clock = { now: () => clock.now(), setTimer: (ms, callback) => clock.setTimer(ms + 1_000, callback) };

/** Creates a new client for the device, because the client of a disabled device does not reconnect. */
async function attach(connectionString: string): Promise<DeviceClient> {
  const options = {
    onStream,
    outbound: test.outbound,
    clock: deviceClock,
    keepaliveSeconds: 1_800,
    tokenLifetimeSeconds: 86_400,
  };
  const device = DeviceClient.fromConnectionString(connectionString, options);
  await device.open();
  return device;
}

beforeAll(async () => {
  test = await startHub({ clock });
  owner = ServiceClient.fromConnectionString(test.ownerConnectionString, {
    outbound: test.outbound,
    clock,
    session: false,
  });
  const connectionString = await test.createDevice('press-7');
  await test.createDevice('asleep');
  let device = await attach(connectionString);
  const began = clock.now();
  for (let round = 0; clock.now() - began < 3_600_000; round++) {
    const kinds = Object.entries(SCENARIOS);
    // Each round has another order.
    for (const [kind, scenario] of [...kinds.slice(round % kinds.length), ...kinds.slice(0, round % kinds.length)]) {
      await perform(kind, scenario);
      if (kind === 'disabled') {
        await device.close();
        const stored = await owner.devices.get('press-7');
        await owner.devices.update({ ...stored, status: 'enabled' });
        device = await attach(connectionString);
      }
      await clock.advance(STEP_MS);
    }
  }
  const { port } = test.hub.adminAddress;
  // The last stream stays open while the views are read, and ends when the hub stops.
  const [last, requestedAt] = [`s${ledger.length}-last`, clock.now()];
  await openFor(last, 5);
  await test.hub.settled();
  for await (const record of owner.audit.list({ type: 'stream-ended' })) beforeStop.push(record);
  for await (const record of owner.logs.list({ category: 'DeviceStreams', order: 'oldest' })) logged.push(record);
  for await (const stream of owner.streams.list()) openNow.push(stream);
  metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { connection: 'close' } })).text();
  const stopped = test.hub.stop(1_000);
  await test.event('hub-draining');
  await clock.advance(1_000);
  owner.close();
  await stopped;
  await device.close();
  const { record } = await test.event('stream-ended', (event) => event.record.streamName === last);
  ledger.push({
    ...{ name: last, device: 'press-7', caller: 'policy:iothubowner', cause: 'shutting_down', ...carried(5) },
    ...{ requestedAt, establishedAt: record.establishedAt, endedAt: record.endedAt },
  });
});

afterAll(() => test.stop());

/** A row from the record in an event. All other views are made from these events. */
function rowOfRecord(record: StreamRecord): Row {
  const { requestedAt, establishedAt, endedAt, caller, cause, fromService, fromDevice } = record;
  const counts = { fromService: fromService.bytes, fromDevice: fromDevice.bytes };
  return {
    name: record.streamName,
    device: record.deviceId,
    caller,
    cause,
    requestedAt,
    establishedAt,
    endedAt,
    ...counts,
  };
}

function rowOfAudit(record: AuditRecord): Row {
  const stream = record['stream'] as Readonly<Record<string, AuditValue>>;
  const text = (key: string) => String(stream[key]);
  const time = (key: string) => (stream[key] === undefined ? undefined : Date.parse(text(key)));
  const bytes = (key: string) => Number((stream[key] as { bytes: number }).bytes);
  return {
    ...{ name: text('streamName'), device: text('deviceId'), caller: text('caller'), cause: text('cause') },
    ...{ requestedAt: time('requestedAt') ?? 0, establishedAt: time('establishedAt'), endedAt: time('endedAt') ?? 0 },
    ...{ fromService: bytes('fromService'), fromDevice: bytes('fromDevice') },
  };
}

/** Rows from the log. Only the record of a stream's end has a cause; other records give no row. */
function rowsOfLog({ time, properties }: ResourceLogRecord): Row[] {
  const fields = JSON.parse(properties) as Record<string, string | number | undefined>;
  if (fields['cause'] === undefined) return [];
  const endedAt = Date.parse(time);
  const { requestName: name, deviceId: device, caller, cause, requestedAt, streamMs } = fields;
  return [
    {
      ...{ name: String(name), device: String(device), caller: String(caller), cause: String(cause) },
      ...{ requestedAt: Date.parse(String(requestedAt)), endedAt },
      establishedAt: streamMs === undefined ? undefined : endedAt - Number(streamMs),
      ...{ fromService: Number(fields['bytesFromService']), fromDevice: Number(fields['bytesFromDevice']) },
    },
  ];
}

/** Every view of the streams that have ended. A new view must be added here. */
const VIEWS: Record<string, () => Row[]> = {
  events: () => test.events.flatMap((event) => (event.type === 'stream-ended' ? [rowOfRecord(event.record)] : [])),
  audit: () => beforeStop.map(rowOfAudit),
  log: () => logged.flatMap(rowsOfLog),
};

const sample = (series: string) => {
  const line = metrics.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length));
};
const count = (matches: (row: Row) => boolean) => ledger.slice(0, -1).filter(matches).length;
const sum = (of: (row: Row) => number) => ledger.slice(0, -1).reduce((total, row) => total + of(row), 0);

describe('an hour of mixed success and failure', () => {
  it('had all of it', () => {
    const causes = new Set(ledger.map(({ cause }) => cause));
    expect(causes.size).toBe(Object.keys(SCENARIOS).length + 1);
    expect(ledger.length).toBeGreaterThan(60);
  });

  it.each(Object.keys(VIEWS))('is told stream by stream in the %s', (view) => {
    const rows = VIEWS[view]?.().filter(({ name }) => !name.endsWith('-last'));
    expect(rows).toEqual(ledger.slice(0, -1));
  });

  it('leaves in the live view what is not over, with what it has carried', () => {
    const last = ledger.at(-1);
    expect(openNow).toMatchObject([
      {
        streamName: last?.name,
        deviceId: last?.device,
        caller: last?.caller,
        state: 'established',
        fromService: { bytes: 5 },
      },
    ]);
  });

  it('is counted in the metrics', () => {
    const causes = [...new Set(ledger.map(({ cause }) => cause))];
    for (const cause of causes) {
      const ended = count((row) => row.cause === cause && row.establishedAt !== undefined);
      const failed = count((row) => row.cause === cause && row.establishedAt === undefined);
      const outcome = cause === 'rejected' ? 'rejected' : 'failed';
      expect([cause, sample(`culvert_streams_ended_total{cause="${cause}"}`)]).toEqual([cause, ended]);
      expect([cause, sample(`culvert_handshakes_total{outcome="${outcome}",cause="${cause}"}`)]).toEqual([
        cause,
        failed,
      ]);
    }
    const established = count(({ establishedAt }) => establishedAt !== undefined);
    // The stream that is still open counts as established too.
    expect(sample('culvert_handshakes_total{outcome="established",cause=""}')).toBe(established + 1);
    expect(sample('culvert_streams{state="open"}')).toBe(1);
    expect(sample('culvert_streams{state="opening"}')).toBe(0);
    const carriedBy = (from: 'fromService' | 'fromDevice') => ledger.reduce((total, row) => total + row[from], 0);
    expect(sample('culvert_stream_bytes_total{from="service"}')).toBe(carriedBy('fromService'));
    expect(sample('culvert_stream_bytes_total{from="device"}')).toBe(carriedBy('fromDevice'));
    const seconds =
      sum(({ establishedAt, endedAt }) => (establishedAt === undefined ? 0 : endedAt - establishedAt)) / 1e3;
    expect(sample('culvert_stream_duration_seconds_sum')).toBeCloseTo(seconds, 6);
    expect(sample('culvert_audit_records_total')).toBe(beforeStop.length + audited());
    expect(sample('culvert_devices_attached{protocol="mqtt-ws"}')).toBe(1);
  });
});

/** Number of audit records that are not ends of streams: the audit's own record, starts of streams, and changes of devices. */
function audited(): number {
  return 1 + test.events.filter(({ type }) => type === 'registry-changed' || type === 'stream-established').length;
}
