import { signSasToken } from '@culvert/protocol';
import { amqpTransport, FakeClock, mqttTransport, RestCaller, startHub, type TestHub } from '@culvert/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';

let hub: TestHub;
const clock = new FakeClock(Date.now());
beforeAll(async () => {
  hub = await startHub({ clock, config: { mqttListen: '127.0.0.1:0', amqpListen: '127.0.0.1:0' } });
  await hub.owner.devices.create('press-7');
});
afterAll(() => hub.stop());

/** Creates a token for a device with a key that is not the device's. */
const wrong = (deviceId: string) =>
  signSasToken({
    audience: `127.0.0.1:${hub.port}/devices/${deviceId}`,
    key: Buffer.alloc(32, 9).toString('base64'),
    expiry: Math.floor(Date.now() / 1000) + 600,
  });

/** Returns the records of refusals since a time. */
async function refusals(since: number): Promise<Record<string, unknown>[]> {
  const found = [];
  for await (const { time, operationName, properties } of hub.owner.logs.list({ category: 'Connections' }))
    if (operationName === 'connectionRefused' && Date.parse(time) >= since) found.push(JSON.parse(properties));
  return found;
}

it.each([
  ['REST', 'rest'],
  ['MQTT', 'mqtt'],
  ['AMQP', 'amqp'],
])('a wrong key of a real device by %s is in the log behind a flood of made-up ids', async (_name, listener) => {
  const rest = new RestCaller(hub);
  const asRest = async (deviceId: string) => {
    const { status } = await rest.call('GET', `/devices/${deviceId}/modules`, { authorization: await wrong(deviceId) });
    expect(status).toBe(401);
  };
  const knock = async (deviceId: string) => {
    if (listener === 'rest') return asRest(deviceId);
    const transport = listener === 'mqtt' ? mqttTransport('TLS', 4) : amqpTransport('TLS', 'PLAIN');
    await expect(transport.attach(hub, { deviceId }, { token: await wrong(deviceId) })).rejects.toThrow();
  };
  const since = clock.now();
  for (let n = 0; n < 30; n++) await asRest(`made-up-${n}`);
  await knock('press-7');
  const recorded = await refusals(since);
  const ofDevice = recorded.filter(({ deviceId }) => deviceId === 'press-7');
  expect(ofDevice).toMatchObject([{ protocol: listener, unrecorded: 27 }]);
  expect(recorded).toHaveLength(4);
  await clock.advance(60_000);
});
