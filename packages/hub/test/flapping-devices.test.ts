import { formatAuthority, type ResourceLogRecord, signSasToken } from '@culvert/protocol';
import { amqpTransport, FakeClock, mqttTransport, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CONNECTION_INTERVAL_MS, CONNECTIONS_AT_ONCE } from '../src/control/connection-attempts.ts';
import type { HubEvent } from '../src/observe/events.ts';

const deviceId = 'flapping';
/** The number of reconnects that a device was observed to make in 20 s. */
const RECONNECTS = 137;

let clock: FakeClock;
let hub: TestHub;
let token: string;

beforeEach(async () => {
  clock = new FakeClock(Math.floor(Date.now() / 1000) * 1000);
  hub = await startHub({ clock, config: { mqttListen: '127.0.0.1:0', amqpListen: '127.0.0.1:0' } });
  const { authentication } = await hub.owner.devices.create(deviceId);
  const audience = `${formatAuthority('127.0.0.1', hub.port)}/devices/${deviceId}`;
  const expiry = Math.floor(clock.now() / 1000) + 86_400;
  token = await signSasToken({ audience, key: authentication.symmetricKey.primaryKey ?? '', expiry });
});

afterEach(() => hub.stop());

const of = (...types: HubEvent['type'][]) =>
  hub.events.filter((event) => types.includes(event.type) && 'deviceId' in event && event.deviceId === deviceId);

/** Returns the events of refusals because of too many connections, after the device has named its identity. */
const refusals = () =>
  hub.events.filter(
    (event) => event.type === 'connection-refused' && event.error === 'too_many_requests' && event.claimed,
  );

async function records(): Promise<{ operation: string; time: number; unrecorded: number }[]> {
  const found: ResourceLogRecord[] = [];
  for await (const record of hub.owner.logs.list({ device: deviceId, order: 'oldest' })) found.push(record);
  return found.map(({ operationName, time, properties }) => {
    const { unrecorded = 0 } = JSON.parse(properties) as { unrecorded?: number };
    return { operation: operationName, time: Date.parse(time), unrecorded };
  });
}

describe.each([
  mqttTransport('TLS', 4),
  mqttTransport('TLS', 5),
  mqttTransport('WebSocket', 5),
  amqpTransport('TLS'),
  amqpTransport('WebSocket'),
])('a device that flaps, $name', (transport) => {
  /** Attaches the device and detaches it again. @returns whether the hub accepted the device */
  async function flap(): Promise<boolean> {
    const before = of('device-detached').length;
    try {
      const device = await transport.attach(hub, { deviceId }, { token });
      device.drop();
      await expect.poll(() => of('device-detached').length, { timeout: 15_000 }).toBe(before + 1);
      return true;
    } catch (error) {
      expect(error).toMatchObject({ code: 'unauthorized' });
      return false;
    }
  }

  it('is let in a bounded number of times, makes a bounded number of records, and those tell how many there were', async () => {
    let admitted = 0;
    for (let n = 0; n < RECONNECTS; n++) if (await flap()) admitted++;
    expect(admitted).toBe(CONNECTIONS_AT_ONCE);
    expect(of('device-attached')).toHaveLength(admitted);
    expect(of('device-reconnects-too-often')).toHaveLength(1);
    expect(await records()).toHaveLength(20);

    await clock.advance(CONNECTION_INTERVAL_MS);
    expect(await flap()).toBe(true);
    expect(await flap()).toBe(false);
    const last = clock.now();
    await clock.advance(60_000);
    const recorded = await records();
    expect(recorded.length).toBeLessThanOrEqual(22);
    // The records and their counts of unrecorded events cover every event, and the newest record is the newest event.
    const happened = of('device-attached', 'device-detached').length + refusals().length;
    expect(recorded.length + recorded.reduce((sum, { unrecorded }) => sum + unrecorded, 0)).toBe(happened);
    expect(recorded.at(-1)).toMatchObject({
      operation: refusals().length > 0 ? 'connectionRefused' : 'deviceDisconnect',
      time: last,
    });
    const metrics = await (await fetch(`http://127.0.0.1:${hub.hub.adminAddress.port}/metrics`)).text();
    const leftOut = /^culvert_connection_records_left_out_total (\d+)$/m.exec(metrics)?.[1];
    expect(Number(leftOut)).toBe(happened - recorded.length);
  }, 120_000);
});

it('what is held is in the log when the hub stops', async () => {
  const transport = mqttTransport('TLS', 5);
  const attach = () => transport.attach(hub, { deviceId }, { token });
  for (let n = 0; n < 15; n++) {
    (await attach()).drop();
    await expect.poll(() => of('device-detached').length, { timeout: 15_000 }).toBe(n + 1);
  }
  await attach();
  await hub.stop({ keep: true });
  hub = await startHub({ clock, directory: hub.directory });
  const recorded = await records();
  expect(recorded).toHaveLength(21);
  expect(recorded.at(-1)).toMatchObject({ operation: 'deviceDisconnect', unrecorded: 11 });
});

it('two programs with one identity that evict each other are told of once', async () => {
  const transport = mqttTransport('TLS', 5);
  const evictions = () => of('device-detached').filter((event) => 'error' in event && event.error === 'taken_over');
  for (let n = 0; n < 12; n++) {
    await transport.attach(hub, { deviceId }, { token });
    await expect.poll(() => evictions().length, { timeout: 15_000 }).toBe(n);
    await clock.advance(60_000);
  }
  expect(of('identity-contested')).toEqual([
    { type: 'identity-contested', deviceId, moduleId: undefined, takeOvers: 4, addresses: '127.0.0.1' },
  ]);
});
