import { CLOSE_CAUSES, ERRORS } from '@culvert/protocol';
import { FakeClock } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EventBus } from '../event-bus.ts';
import { LiveStreams } from '../live-streams.ts';
import { HubMetrics } from './hub-metrics.ts';

let clock: FakeClock;
let bus: EventBus;
let metrics: HubMetrics;

beforeEach(() => {
  clock = new FakeClock();
  bus = new EventBus();
  const live = new LiveStreams({ clock, onEvent: bus.emit, gateway: () => 'hub:443' });
  bus.subscribe(live.observe);
  metrics = new HubMetrics({ live, version: '1.2.3' });
  bus.subscribe(metrics.observe);
});

afterEach(() => metrics.stop());

const identity = { deviceId: 'secret-device', moduleId: undefined };
const listener = { protocol: 'amqp', remoteAddress: '192.0.2.1', principal: 'device:secret-device' } as const;

/** The value of the sample with exactly this name and these labels. */
async function sample(series: string): Promise<number> {
  const line = (await metrics.text()).split('\n').find((candidate) => candidate.startsWith(`${series} `));
  if (line === undefined) throw new Error(`no ${series} in:\n${await metrics.text()}`);
  return Number(line.slice(series.length));
}

async function open(streamId: string): Promise<void> {
  const asked = { streamName: 'ssh', caller: 'policy:service', remoteAddress: '192.0.2.2' };
  bus.emit({ type: 'stream-requested', ...identity, streamId, ...asked });
  await clock.advance(40);
  bus.emit({ type: 'stream-offered', ...identity, streamId });
  await clock.advance(300);
  bus.emit({ type: 'stream-answered', ...identity, streamId, accepted: true, ...listener });
  await clock.advance(2_000);
  bus.emit({ type: 'stream-established', streamId, deviceAddress: '192.0.2.1', serviceAddress: '192.0.2.2' });
}

describe('the metrics', () => {
  it('count a stream from its request to its end', async () => {
    await open('1');
    expect(await sample('culvert_streams{state="open"}')).toBe(1);
    await clock.advance(90_000);
    bus.emit({
      ...{ type: 'stream-closed', streamId: '1', cause: 'idle', established: true, durationMs: 90_000 },
      ...{ fromService: { bytes: 3, messages: 1 }, fromDevice: { bytes: 70_000, messages: 2 }, countedBytes: 70_064 },
    });
    expect(await sample('culvert_streams{state="open"}')).toBe(0);
    expect(await sample('culvert_handshakes_total{outcome="established",cause=""}')).toBe(1);
    expect(await sample('culvert_offers_total')).toBe(1);
    expect(await sample('culvert_streams_ended_total{cause="idle"}')).toBe(1);
    expect(await sample('culvert_stream_bytes_total{from="service"}')).toBe(3);
    expect(await sample('culvert_stream_bytes_total{from="device"}')).toBe(70_000);
    expect(await sample('culvert_stream_messages_total{from="device"}')).toBe(2);
    expect(await sample('culvert_stream_duration_seconds_sum')).toBe(90);
    const stage = (name: string) => sample(`culvert_handshake_duration_seconds_sum{stage="${name}"}`);
    const sums = await Promise.all(['offer', 'answer', 'meeting', 'total'].map(stage));
    expect(sums.map((sum) => Number(sum.toFixed(6)))).toEqual([0.04, 0.3, 2, 2.34]);
  });

  it('tell a device that says no from a handshake that failed', async () => {
    const asked = { streamName: 'ssh', caller: 'policy:service', remoteAddress: '192.0.2.2' };
    bus.emit({ type: 'stream-requested', ...identity, streamId: '1', ...asked });
    bus.emit({ type: 'stream-answered', ...identity, streamId: '1', accepted: false, ...listener });
    bus.emit({ type: 'stream-requested', ...identity, streamId: '2', ...asked });
    expect(await sample('culvert_streams{state="opening"}')).toBe(1);
    bus.emit({ type: 'stream-failed', ...identity, streamId: '2', error: 'device_silent', detail: '' });
    expect(await sample('culvert_handshakes_total{outcome="rejected",cause="rejected"}')).toBe(1);
    expect(await sample('culvert_handshakes_total{outcome="failed",cause="device_silent"}')).toBe(1);
    expect(await sample('culvert_handshakes_total{outcome="established",cause=""}')).toBe(0);
  });

  it('know who is attached, and who was turned away at which listener', async () => {
    bus.emit({ type: 'device-attached', ...identity, ...listener });
    expect(await sample('culvert_devices_attached{protocol="amqp"}')).toBe(1);
    const gone = { protocol: 'amqp', error: 'device_gone', detail: '', connectedMs: 1 } as const;
    bus.emit({ type: 'device-detached', ...identity, ...gone });
    expect(await sample('culvert_devices_attached{protocol="amqp"}')).toBe(0);
    expect(await sample('culvert_device_channels_ended_total{protocol="amqp",error="device_gone"}')).toBe(1);
    const refused = { remoteAddress: '192.0.2.9', error: 'unauthorized', detail: '' } as const;
    bus.emit({ type: 'connection-refused', listener: 'mqtt', ...refused });
    bus.emit({ type: 'grant-refused', ...refused });
    expect(await sample('culvert_connections_refused_total{listener="mqtt",error="unauthorized"}')).toBe(1);
    expect(await sample('culvert_connections_refused_total{listener="gateway",error="unauthorized"}')).toBe(1);
  });

  it('count what a stream carries while it does', async () => {
    const carried = new Map([
      ['1', { fromService: { bytes: 10, messages: 1 }, fromDevice: { bytes: 500, messages: 2 } }],
    ]);
    metrics.report({
      ...{
        certificateNotAfter: () => 0,
        isReady: () => true,
        auditRecords: () => 0,
        checkpointFailures: () => 0,
        unrecordedConnections: () => 0,
        droppedReports: () => ({ too_often: 0, malformed: 0, unknown_session: 0 }),
      },
      ...{ dropped: {}, carriedSoFar: (streamId) => carried.get(streamId) },
    });
    await open('1');
    await open('2');
    const fromDevice = 'culvert_stream_bytes_total{from="device"}';
    expect(await sample(fromDevice)).toBe(500);
    carried.set('2', { fromService: { bytes: 0, messages: 0 }, fromDevice: { bytes: 40, messages: 1 } });
    expect(await sample(fromDevice)).toBe(540);
    carried.delete('1');
    bus.emit({
      ...{ type: 'stream-closed', streamId: '1', cause: 'idle', established: true, durationMs: 1 },
      ...{ fromService: { bytes: 10, messages: 1 }, fromDevice: { bytes: 501, messages: 3 }, countedBytes: 565 },
    });
    expect(await sample(fromDevice)).toBe(541);
    expect(await sample('culvert_stream_messages_total{from="device"}')).toBe(4);
    expect(await sample('culvert_stream_messages_total{from="service"}')).toBe(1);
  });

  it('read what others keep at each scrape', async () => {
    let lost = 0;
    metrics.report({
      certificateNotAfter: () => 1_700_000_000_000,
      isReady: () => true,
      auditRecords: () => 5,
      checkpointFailures: () => 0,
      unrecordedConnections: () => 0,
      droppedReports: () => ({ too_often: 0, malformed: 0, unknown_session: 0 }),
      carriedSoFar: () => undefined,
      dropped: { audit: () => lost },
    });
    expect(await sample('culvert_records_dropped_total{sink="audit"}')).toBe(0);
    lost = 7;
    expect(await sample('culvert_records_dropped_total{sink="audit"}')).toBe(7);
    expect(await sample('culvert_audit_records_total')).toBe(5);
    expect(await sample('culvert_certificate_expiry_timestamp_seconds')).toBe(1_700_000_000);
    expect(await sample(`culvert_build_info{version="1.2.3",node="${process.versions.node}"}`)).toBe(1);
    expect(await sample('process_cpu_seconds_total')).toBeGreaterThan(0);
    expect(await sample('process_open_fds')).toBeGreaterThan(3);
    expect(await sample('culvert_event_loop_delay_seconds{percentile="99"}')).toBeGreaterThanOrEqual(0);
  });

  it('name nobody, and take every label’s value from a closed list', async () => {
    await open('1');
    bus.emit({ type: 'device-attached', ...identity, ...listener });
    const text = await metrics.text();
    expect(text).not.toContain('secret-device');
    expect(text).not.toMatch(/192\.0\.2|policy:|ssh/);
    const known: Record<string, readonly string[]> = {
      outcome: ['established', 'rejected', 'failed'],
      cause: ['', ...Object.keys(CLOSE_CAUSES)],
      error: Object.keys(ERRORS),
      listener: ['tls', 'rest', 'mqtt', 'mqtt-ws', 'amqp', 'amqp-ws', 'gateway', 'admin'],
      protocol: ['mqtt', 'mqtt-ws', 'amqp', 'amqp-ws'],
      state: ['open', 'opening'],
      stage: ['offer', 'answer', 'meeting', 'total'],
      from: ['service', 'device'],
      percentile: ['50', '99', '100'],
      version: ['1.2.3'],
      node: [process.versions.node],
    };
    for (const [, label = '', value = ''] of text.matchAll(/[{,](\w+)="([^"]*)"/g)) {
      if (label !== 'le') expect(known[label], label).toContain(value);
    }
  });
});
