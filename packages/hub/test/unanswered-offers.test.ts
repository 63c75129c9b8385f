import {
  amqpTransport,
  type DeviceUnderTest,
  FakeClock,
  mqttTransport,
  sasCredentials,
  startHub,
  type TestHub,
} from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HubEvent } from '../src/observe/events.ts';
import { logSink } from '../src/observe/log.ts';

const identity = { deviceId: 'd' };

let clock: FakeClock;
let test: TestHub;
const devices: DeviceUnderTest[] = [];

beforeEach(async () => {
  clock = new FakeClock(Math.floor(Date.now() / 1000) * 1000);
  test = await startHub({ clock, config: { mqttListen: '127.0.0.1:0', amqpListen: '127.0.0.1:0' } });
});
afterEach(async () => {
  for (const device of devices.splice(0)) device.drop();
  await test.stop();
});

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const each of source) found.push(each);
  return found;
}

/** Returns the text of the hub's log at its default level. */
function written(events: readonly HubEvent[]): string {
  let text = '';
  const sink = logSink({ level: 'info', format: 'text', destination: { write: (line) => (text += line) } });
  for (const event of events) sink(event);
  return text;
}

/** Requests a stream whose offer the device does not answer in time. */
async function ask(device: DeviceUnderTest): Promise<void> {
  const options = { name: 'ssh', connectTimeoutMs: 0, responseTimeoutMs: 10_000 };
  const asked = expect(test.owner.openStream('d', options)).rejects.toMatchObject({ code: 'device_silent' });
  await device.nextOffer();
  await clock.advance(10_000);
  await asked;
}

describe.each([mqttTransport('TLS', 4), amqpTransport('WebSocket')])('a device by $name', (transport) => {
  it('that is connected and leaves requests unanswered is told of, with since when and how many', async () => {
    const proof = await sasCredentials.register(test, identity, clock.now() + 3_600_000);
    const device = await transport.attach(test, identity, proof);
    devices.push(device);
    expect(await test.owner.devices.presence('d')).toMatchObject({ online: true, unanswered: null });
    const since = new Date(clock.now()).toISOString();
    for (let count = 0; count < 3; count++) await ask(device);
    expect(await test.owner.devices.presence('d')).toMatchObject({ online: true, unanswered: { since, count: 3 } });
    const listed = await all(test.owner.devices.list());
    expect(listed).toMatchObject([{ connectionState: 'Connected', unansweredOffers: { since, count: 3 } }]);
    // Events are emitted for the first and the second unanswered offer but not for the third; the next one would be for the fourth.
    const reported = test.events.filter(({ type }) => type === 'device-unresponsive');
    expect(reported).toMatchObject([1, 2].map((unanswered) => ({ ...identity, since, unanswered })));
    const log = written(test.events);
    expect(log).toContain(`WARN device-unresponsive deviceId="d"`);
    expect(log).toContain(`since="${since}" unanswered=2`);
    const records = await all(test.owner.logs.list({ category: 'Connections' }));
    const unanswered = records.filter(({ operationName }) => operationName === 'offersUnanswered');
    expect(unanswered.map(({ level, properties }) => [level, JSON.parse(properties)])).toMatchObject([
      ['Warning', { deviceId: 'd', since, unanswered: 2, statusCode: '504101' }],
      ['Warning', { deviceId: 'd', since, unanswered: 1 }],
    ]);

    const accepted = test.owner.openStream('d', { name: 'ssh' });
    const { requestId } = await device.nextOffer();
    device.answer({ requestId, accepted: false, reason: 'no' });
    await expect(accepted).rejects.toMatchObject({ code: 'rejected' });
    expect(await test.owner.devices.presence('d')).toMatchObject({ unanswered: null });
    expect(await test.owner.devices.get('d')).not.toHaveProperty('unansweredOffers');
    expect(test.events.filter(({ type }) => type === 'device-responsive')).toMatchObject([{ since, unanswered: 3 }]);
  });

  it('is thought well of again on a new channel', async () => {
    const proof = await sasCredentials.register(test, identity, clock.now() + 3_600_000);
    const device = await transport.attach(test, identity, proof);
    devices.push(device);
    await ask(device);
    devices.push(await transport.attach(test, identity, proof));
    expect(await test.owner.devices.presence('d')).toMatchObject({ online: true, unanswered: null });
  });
});
