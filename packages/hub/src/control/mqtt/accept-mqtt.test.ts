import { CulvertError, LIMITS } from '@culvert/protocol';
import type { MqttVersion } from '@culvert/protocol/mqtt';
import { devicePrincipal, duplexPair, FakeClock, MqttDevice } from '@culvert/testkit';
import { describe, expect, it } from 'vitest';
import type { Principal } from '../../auth/principal.ts';
import type { HubEvent } from '../../observe/events.ts';
import type { ControlChannel, ControlDeps } from '../control-channel.ts';
import { NO_SERVICES } from '../no-services.fixture.ts';
import { acceptMqtt } from './accept-mqtt.ts';

/** Runs `acceptMqtt` on one connection, and returns the device's end of it with everything that the hub reported. */
function openConnection(version: MqttVersion = 5, overrides: Partial<ControlDeps> = {}) {
  const clock = new FakeClock();
  const events: HubEvent[] = [];
  const channels: ControlChannel[] = [];
  const [hubEnd, deviceEnd] = duplexPair();
  const accepted = acceptMqtt(
    hubEnd,
    { remoteAddress: '192.0.2.1', protocol: 'mqtt' },
    {
      authenticate: async ({ identity }) => devicePrincipal(identity),
      services: NO_SERVICES,
      registrar: { attach: (channel) => channels.push(channel), offersChanged: () => {} },
      clock,
      onEvent: (event) => events.push(event),
      limits: {
        authenticateMs: 10_000,
        maxPacketBytes: LIMITS.mqttPacketBytes,
        maxOffers: 64,
        maxQueuedBytes: 1_048_576,
      },
      ...overrides,
    },
  );
  return { clock, events, channels, hubEnd, accepted, device: new MqttDevice(deviceEnd, version) };
}

const refused = (error: string) => [
  expect.objectContaining({ type: 'connection-refused', listener: 'mqtt', remoteAddress: '192.0.2.1', error }),
];

describe('acceptMqtt', () => {
  it('attaches a device that proves who it is, and tells when it leaves', async () => {
    const { clock, events, channels, accepted, device } = openConnection();
    expect(await device.connect('d1')).toMatchObject({ reasonCode: 0, sessionPresent: false });
    expect(await accepted).toBe(true);
    expect(channels).toMatchObject([
      { identity: { deviceId: 'd1' }, protocol: 'mqtt', connectedAt: clock.now(), takesOffers: false },
    ]);
    await device.subscribe();
    expect(channels[0]?.takesOffers).toBe(true);
    await clock.advance(5_000);
    device.send({ cmd: 'disconnect', reasonCode: 0 });
    expect(await channels[0]?.closed).toMatchObject({ code: 'device_gone', message: 'The device disconnected.' });
    await device.over;
    const who = {
      deviceId: 'd1',
      principal: 'device:d1',
      authentication: 'sas',
      protocol: 'mqtt',
      remoteAddress: '192.0.2.1',
    };
    expect(events).toEqual([
      { type: 'device-attached', ...who },
      {
        type: 'device-detached',
        ...who,
        error: 'device_gone',
        detail: 'The device disconnected.',
        connectedMs: 5_000,
      },
    ]);
  });

  it('passes on what the device claims, and its CONNACK says why it is refused', async () => {
    const seen: unknown[] = [];
    const { events, accepted, device } = openConnection(4, {
      authenticate: async (credentials) => {
        seen.push(credentials);
        throw new CulvertError('unauthorized');
      },
    });
    expect(await device.connect('d1')).toMatchObject({ returnCode: 5 });
    expect(await accepted).toBe(false);
    await device.over;
    expect(seen).toEqual([{ identity: { deviceId: 'd1' }, token: 'secret', certificate: undefined }]);
    expect(events).toEqual(refused('unauthorized'));
    expect(JSON.stringify(events)).not.toContain('secret');
  });

  it('a fault inside is "server unavailable" to the device and says nothing of it', async () => {
    const { events, accepted, device } = openConnection(5, {
      authenticate: async () => {
        throw new TypeError('key secret42 is not iterable');
      },
    });
    const connack = await device.connect('d1');
    expect(connack).toMatchObject({ reasonCode: 0x80 });
    expect(JSON.stringify(connack)).not.toContain('secret42');
    expect(await accepted).toBe(false);
    const problem = expect.stringMatching(/ TypeError at .*accept-mqtt\.test/);
    expect(events).toEqual([expect.objectContaining({ type: 'fault', problem }), ...refused('internal')]);
    expect(JSON.stringify(events)).not.toContain('secret42');
  });

  it('lets in packets that came on the heels of CONNECT', async () => {
    const { channels, device } = openConnection();
    const connack = device.connect('d1');
    const suback = device.subscribe();
    await Promise.all([connack, suback]);
    expect(channels[0]?.takesOffers).toBe(true);
  });

  it('waits for no CONNECT of more than 16 KiB', async () => {
    const { events, accepted, device } = openConnection();
    // A CONNECT packet with a remaining length of 16,382: with its header, one byte more than the limit.
    device.connection.write(Buffer.from([0x10, 0xfe, 0x7f]));
    expect(await accepted).toBe(false);
    expect(events).toEqual(refused('too_large'));
  });

  it('takes packets of 256 KiB once it has the CONNECT, on its heels and later', async () => {
    const { accepted, device, channels } = openConnection(4);
    const publish = (length: number) =>
      device.send({
        ...{ cmd: 'publish', topic: 't', retain: false, dup: false, qos: 1, messageId: length },
        payload: Buffer.alloc(length),
      });
    const connack = device.connect('d1');
    publish(40_000);
    expect(await connack).toMatchObject({ returnCode: 0 });
    expect(await accepted).toBe(true);
    expect(await device.take('puback')).toMatchObject({ messageId: 40_000 });
    publish(60_000);
    expect(await device.take('puback')).toMatchObject({ messageId: 60_000 });
    expect(channels).toHaveLength(1);
  });

  it('closes on a device that does not authenticate in time, or not at all', async () => {
    const silent = openConnection();
    await silent.clock.advance(10_000);
    expect(await silent.accepted).toBe(false);
    await silent.device.over;
    expect(silent.events).toEqual(refused('handshake_timeout'));

    const slow = openConnection(5, { authenticate: () => new Promise(() => {}) });
    const connack = slow.device.connect('d1');
    await slow.clock.advance(0);
    await slow.clock.advance(10_000);
    expect(await connack).toMatchObject({ reasonCode: 0x88 });
  });

  it('leaves no timer behind when a device comes and goes', async () => {
    const { clock, channels, device } = openConnection();
    await device.connect('d1');
    expect(clock.timers).toBe(1);
    device.connection.destroy();
    await channels[0]?.closed;
    await clock.advance(2_000);
    expect(clock.timers).toBe(0);
  });

  it('does not attach a device that left while it was looked up', async () => {
    let admit: (value: Principal) => void = () => {};
    const { clock, hubEnd, events, channels, accepted, device } = openConnection(5, {
      authenticate: () => new Promise((resolve) => (admit = resolve)),
    });
    device.connect('d1').catch(() => {});
    await clock.advance(0);
    device.connection.destroy();
    await new Promise((resolve) => hubEnd.once('close', resolve));
    admit(devicePrincipal({ deviceId: 'd1' }));
    expect(await accepted).toBe(false);
    expect([channels, events]).toEqual([[], []]);
  });

  it('is silent about peers that leave before CONNECT', async () => {
    const { events, accepted, device } = openConnection();
    device.connection.destroy();
    expect(await accepted).toBe(false);
    expect(events).toEqual([]);
  });

  it.each([
    [3, 1],
    [2, 1],
  ])('answers MQTT level %i with return code %i', async (level, code) => {
    const { events, accepted, device } = openConnection(4);
    const connack = device.take('connack');
    device.connection.write(Buffer.from([0x10, 14, 0, 4, 0x4d, 0x51, 0x54, 0x54, level, 2, 0, 60, 0, 2, 0x64, 0x31]));
    expect(await connack).toMatchObject({ returnCode: code });
    expect(await accepted).toBe(false);
    expect(events).toEqual(refused('protocol_unsupported'));
  });

  it('ends a connection that breaks the protocol, tells MQTT 5 why, and no other', async () => {
    const one = openConnection(5);
    await one.device.connect('d1');
    one.device.connection.write(Buffer.from([0x82, 0xff, 0xff, 0x7f]));
    await one.device.over;
    expect(one.device.disconnectReason).toBe(0x95);
    expect(await one.channels[0]?.closed).toMatchObject({ code: 'too_large' });

    const two = openConnection(4);
    two.device.connection.write('GET / HTTP/1.1\r\nHost: hub.example\r\n\r\n'.repeat(3));
    expect(await two.accepted).toBe(false);
    expect(two.events).toEqual(refused('protocol_error'));
  });

  it('ends when the device ends its side', async () => {
    const { channels, device } = openConnection();
    await device.connect('d1');
    device.connection.end();
    expect(await channels[0]?.closed).toMatchObject({ code: 'device_gone' });
    await device.over;
  });

  it('closes a device whose keepalive has run out', async () => {
    const { clock, channels, device } = openConnection();
    await device.connect('d1', { keepalive: 10 });
    await clock.advance(14_000);
    device.send({ cmd: 'pingreq' });
    await device.take('pingresp');
    await clock.advance(14_999);
    expect(device.disconnectReason).toBeUndefined();
    await clock.advance(1);
    expect(await channels[0]?.closed).toMatchObject({ code: 'keepalive_timeout' });
    await device.over;
    expect(device.disconnectReason).toBe(0x8d);
  });
});
