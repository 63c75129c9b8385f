import { CulvertError, LIMITS } from '@culvert/protocol';
import { AmqpDevice, type AmqpSasl, devicePrincipal, duplexPair, FakeClock } from '@culvert/testkit';
import rhea from 'rhea';
import { describe, expect, it } from 'vitest';
import type { DeviceCredential } from '../../auth/authenticate.ts';
import type { Principal } from '../../auth/principal.ts';
import type { HubEvent } from '../../observe/events.ts';
import type { ControlChannel, ControlDeps } from '../control-channel.ts';
import { NO_SERVICES } from '../no-services.fixture.ts';
import { acceptAmqp } from './accept-amqp.ts';

const SASL_HEADER = Buffer.from([0x41, 0x4d, 0x51, 0x50, 3, 1, 0, 0]);
const AMQP_HEADER = Buffer.from([0x41, 0x4d, 0x51, 0x50, 0, 1, 0, 0]);

/** An OPEN with nothing but a container id, `c`. */
const OPEN = Buffer.from([0, 0, 0, 17, 2, 0, 0, 0, 0, 0x53, 0x10, 0xc0, 4, 1, 0xa1, 1, 0x63]);

function saslInit(mechanism: string, response?: string): Buffer {
  const binary = response === undefined ? [] : [0xa0, response.length, ...Buffer.from(response)];
  const fields = [0xa3, mechanism.length, ...Buffer.from(mechanism), ...binary];
  const body = [0, 0x53, 0x41, 0xc0, 1 + fields.length, response === undefined ? 1 : 2, ...fields];
  return Buffer.from([0, 0, 0, 8 + body.length, 2, 1, 0, 0, ...body]);
}

/** A listener with one connection. */
function knock(overrides: Partial<ControlDeps> = {}) {
  const clock = new FakeClock();
  const events: HubEvent[] = [];
  const channels: ControlChannel[] = [];
  const [hubEnd, deviceEnd] = duplexPair();
  const accepted = acceptAmqp(
    hubEnd,
    { remoteAddress: '192.0.2.1', protocol: 'amqp' },
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
  return { clock, events, channels, hubEnd, deviceEnd, accepted };
}

function knockAs(sasl?: AmqpSasl, overrides: Partial<ControlDeps> = {}) {
  const listener = knock(overrides);
  return {
    ...listener,
    device: sasl === undefined ? new AmqpDevice(listener.deviceEnd) : new AmqpDevice(listener.deviceEnd, sasl),
  };
}

const refused = (error: string) => [
  expect.objectContaining({ type: 'connection-refused', listener: 'amqp', remoteAddress: '192.0.2.1', error }),
];

/** All that the hub sends until it ends its side. */
async function said(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

describe('acceptAmqp', () => {
  it('attaches a device that puts its token, and tells when it leaves', async () => {
    const { clock, events, channels, accepted, device } = knockAs();
    await device.opened();
    expect(await device.putToken({ deviceId: 'd1' })).toEqual({ status: 200, description: 'OK' });
    expect(await accepted).toBe(true);
    expect(channels).toMatchObject([
      { identity: { deviceId: 'd1' }, protocol: 'amqp', connectedAt: clock.now(), takesOffers: false },
    ]);
    await device.attachStreams({ deviceId: 'd1' });
    expect(channels[0]?.takesOffers).toBe(true);
    await clock.advance(5_000);
    device.engine.close();
    expect(await channels[0]?.closed).toMatchObject({
      code: 'device_gone',
      message: 'The device closed the connection.',
    });
    await device.over;
    expect(device.closeCondition).toBeUndefined();
    expect(events).toHaveLength(2);
    expect(events).toMatchObject([
      {
        type: 'device-attached',
        deviceId: 'd1',
        principal: 'device:d1',
        protocol: 'amqp',
        remoteAddress: '192.0.2.1',
      },
      {
        type: 'device-detached',
        deviceId: 'd1',
        protocol: 'amqp',
        error: 'device_gone',
        detail: 'The device closed the connection.',
        connectedMs: 5_000,
      },
    ]);
  });

  it('passes on what the device claims, and tells it why it is refused', async () => {
    const seen: DeviceCredential[] = [];
    const { events, accepted, device, clock } = knockAs(undefined, {
      authenticate: async (credential) => {
        seen.push(credential);
        throw new CulvertError('unauthorized');
      },
    });
    await device.opened();
    const answer = await device.putToken('hub.example%2Fdevices%2Fd1', 'secret');
    expect(answer).toEqual({ status: 401, description: 'The credential was not accepted.' });
    expect(seen).toEqual([{ identity: { deviceId: 'd1' }, token: 'secret', certificate: undefined }]);
    await clock.advance(10_000);
    expect(await accepted).toBe(false);
    await device.over;
    expect(device.closeCondition).toBe('com.microsoft:timeout');
    expect(events).toEqual(refused('unauthorized'));
    expect(JSON.stringify(events)).not.toContain('secret');
  });

  it.each(['servicebus.windows.net:sastoken', 'azure-devices.net:sastoken'])(
    'takes a put-token of type %s, written as the C# clients write it',
    async (type) => {
      const { device, channels, accepted } = knockAs({ mechanism: 'ANONYMOUS' });
      await device.opened();
      const name = 'duplex1:2:3';
      const [sender, receiver] = await Promise.all([
        device.send('$cbs', { name: `${name}:sender`, source: {}, snd_settle_mode: 1 }),
        device.receive('$cbs', { name: `${name}:receiver`, snd_settle_mode: 1, credit_window: 50 }),
      ]);
      sender.send({
        message_id: 'request1',
        reply_to: 'a0b1',
        application_properties: {
          ...{ operation: 'put-token', type, name: 'hub.example/devices/d1' },
          expiration: rhea.types.wrap_timestamp(1_800_000_000_000),
        },
        body: 'token',
      });
      expect(await device.next(receiver)).toMatchObject({
        correlation_id: 'request1',
        application_properties: { 'status-code': 200, 'status-description': 'OK' },
      });
      expect(await accepted).toBe(true);
      expect(channels).toMatchObject([{ identity: { deviceId: 'd1' } }]);
    },
  );

  it('tells of the coming of a device with what software its first link says it is', async () => {
    const { device, events, channels } = knockAs();
    await device.opened();
    await device.putToken({ deviceId: 'd1' });
    expect([events, channels.length]).toEqual([[], 1]);
    const properties = { 'com.microsoft:client-version': 'iothubclient/1.9.0' };
    await device.send('/devices/d1/messages/events', { properties });
    expect(events).toMatchObject([{ type: 'device-attached', deviceId: 'd1', clientVersion: 'iothubclient/1.9.0' }]);
    // The streams links carry no client version here.
    await device.attachStreams({ deviceId: 'd1' });
    expect(channels[0]?.clientVersion).toBe('iothubclient/1.9.0');
    expect(events).toHaveLength(1);
  });

  it('tells of the coming of a device that attaches no link after two seconds, or with its leaving', async () => {
    const idle = knockAs();
    await idle.device.opened();
    await idle.device.putToken({ deviceId: 'd1' });
    await idle.clock.advance(1_999);
    expect(idle.events).toEqual([]);
    await idle.clock.advance(1);
    expect(idle.events).toMatchObject([{ type: 'device-attached', deviceId: 'd1', clientVersion: undefined }]);

    const brief = knockAs();
    await brief.device.opened();
    await brief.device.putToken({ deviceId: 'd1' });
    brief.device.connection.destroy();
    await brief.channels[0]?.closed;
    await brief.clock.advance(0);
    expect(brief.events.map(({ type }) => type)).toEqual(['device-attached', 'device-detached']);
  });

  it.each<[string, (device: AmqpDevice) => Promise<unknown>, string]>([
    ['a token that is refused', (device) => device.putToken({ deviceId: 'd1' }), 'unauthorized'],
    ['what is no token', (device) => device.putToken('h/devices/d1', 't'.repeat(4_097)), 'unauthorized'],
    ['a link without a token', (device) => device.send('/devices/d1/streams'), 'unauthorized'],
  ])('names the device that was claimed with %s, where it refuses', async (_name, claim, error) => {
    const { device, events } = knockAs(undefined, {
      authenticate: () => Promise.reject(new CulvertError('unauthorized')),
    });
    await device.opened();
    await claim(device).catch(() => {});
    expect(events).toMatchObject([{ type: 'connection-refused', error, claimed: { deviceId: 'd1' } }]);
  });

  it('names it too where SASL PLAIN is refused, and where time runs out', async () => {
    const plain = knockAs(
      { mechanism: 'PLAIN', response: '\0d1/m1@sas.hub.example\0token' },
      { authenticate: () => Promise.reject(new CulvertError('token_expired')) },
    );
    expect(await plain.accepted).toBe(false);
    const claimed = { deviceId: 'd1', moduleId: 'm1' };
    expect(plain.events).toMatchObject([{ type: 'connection-refused', error: 'token_expired', claimed }]);

    let asked = () => {};
    const isAsked = new Promise<void>((resolve) => (asked = resolve));
    const slow = knockAs(undefined, {
      authenticate: () => {
        asked();
        return new Promise(() => {});
      },
    });
    await slow.device.opened();
    slow.device.putToken({ deviceId: 'd1' }).catch(() => {});
    await isAsked;
    await slow.clock.advance(10_000);
    expect(await slow.accepted).toBe(false);
    expect(slow.events).toMatchObject([{ error: 'handshake_timeout', claimed: { deviceId: 'd1' } }]);
  });

  it('a fault inside is an internal error to the device and says nothing of it', async () => {
    const { events, accepted, device } = knockAs(
      { mechanism: 'PLAIN', response: '\0d1@sas.hub.example\0token' },
      {
        authenticate: async () => {
          throw new TypeError('key secret42 is not iterable');
        },
      },
    );
    expect(await accepted).toBe(false);
    await device.over;
    const problem = expect.stringMatching(/ TypeError at .*accept-amqp\.test/);
    expect(events).toEqual([expect.objectContaining({ type: 'fault', problem }), ...refused('internal')]);
    expect(JSON.stringify(events)).not.toContain('secret42');
  });

  it.each([
    ['a user that is none', '\0d1\0token'],
    ['a user without an id', '\0@sas.hub.example\0token'],
    ['no password', '\0d1@sas.hub.example'],
    ['an id that is none', '\0d 1@sas.hub.example\0token'],
    ['a password longer than a token', `\0d1@sas.hub.example\0${'t'.repeat(4_097)}`],
    ['nothing', ''],
  ])('refuses PLAIN with %s', async (_name, response) => {
    const { accepted, events, device, channels } = knockAs({ mechanism: 'PLAIN', response });
    expect(await accepted).toBe(false);
    await device.over;
    expect(events).toHaveLength(1);
    expect(channels).toEqual([]);
  });

  it.each(['EXTERNAL', 'XOAUTH2', 'constructor', '__proto__'])('offers no SASL mechanism %s', async (mechanism) => {
    const { accepted, events, deviceEnd } = knock();
    deviceEnd.write(Buffer.concat([SASL_HEADER, saslInit(mechanism)]));
    const answer = await said(deviceEnd);
    expect(await accepted).toBe(false);
    expect(events).toEqual(refused('unauthorized'));
    expect(answer.toString('latin1')).toContain('MSSBCBS');
    expect(answer.toString('latin1')).not.toContain('EXTERNAL');
    // The code of the sasl-outcome is auth (1).
    expect(answer.subarray(-2)).toEqual(Buffer.from([0x50, 1]));
  });

  it('holds what comes on the heels of PLAIN until the token is verified', async () => {
    let admit: (principal: Principal) => void = () => {};
    const { clock, accepted, deviceEnd, channels } = knock({
      authenticate: () => new Promise((resolve) => (admit = resolve)),
    });
    const chunks: Buffer[] = [];
    deviceEnd.on('data', (chunk: Buffer) => chunks.push(chunk));
    deviceEnd.write(
      Buffer.concat([SASL_HEADER, saslInit('PLAIN', '\0d1/m1@sas.hub.example\0token'), AMQP_HEADER, OPEN]),
    );
    await clock.advance(0);
    expect(Buffer.concat(chunks).includes(AMQP_HEADER)).toBe(false);
    admit(devicePrincipal({ deviceId: 'd1', moduleId: 'm1' }));
    expect(await accepted).toBe(true);
    await clock.advance(0);
    expect(Buffer.concat(chunks).includes(AMQP_HEADER)).toBe(true);
    expect(channels).toMatchObject([{ identity: { deviceId: 'd1', moduleId: 'm1' } }]);
    deviceEnd.destroy();
  });

  it('closes on a device that does not authenticate in time, or not at all', async () => {
    const silent = knock();
    await silent.clock.advance(10_000);
    expect(await silent.accepted).toBe(false);
    expect(silent.events).toEqual(refused('handshake_timeout'));

    const slow = knockAs(undefined, { authenticate: () => new Promise(() => {}) });
    await slow.device.opened();
    const answer = expect(slow.device.putToken({ deviceId: 'd1' })).rejects.toThrow('over');
    await slow.clock.advance(10_000);
    await answer;
    expect(await slow.accepted).toBe(false);
    expect(slow.device.closeCondition).toBe('com.microsoft:timeout');
    expect(slow.events).toEqual(refused('handshake_timeout'));
  });

  it('leaves no timer behind when a device comes and goes', async () => {
    const { clock, channels, device } = knockAs(undefined, {
      authenticate: async ({ identity }) => devicePrincipal(identity, { expiresAt: Date.UTC(2026, 0, 2) }),
    });
    await device.opened();
    await device.putToken({ deviceId: 'd1' });
    // The timers of the connection, of the token, and of the wait for the first link.
    expect(clock.timers).toBe(3);
    device.connection.destroy();
    await channels[0]?.closed;
    await clock.advance(2_000);
    expect(clock.timers).toBe(0);
  });

  it('does not attach a device that left while it was looked up', async () => {
    let admit: (principal: Principal) => void = () => {};
    const { clock, hubEnd, events, channels, accepted, device } = knockAs(undefined, {
      authenticate: () => new Promise((resolve) => (admit = resolve)),
    });
    await device.opened();
    const answer = expect(device.putToken({ deviceId: 'd1' })).rejects.toThrow('over');
    await clock.advance(0);
    device.connection.destroy();
    await answer;
    await new Promise((resolve) => hubEnd.once('close', resolve));
    admit(devicePrincipal({ deviceId: 'd1' }));
    expect(await accepted).toBe(false);
    await clock.advance(0);
    expect([channels, events]).toEqual([[], []]);
  });

  it('is silent about peers that leave before they say anything', async () => {
    const { events, accepted, deviceEnd } = knock();
    deviceEnd.destroy();
    expect(await accepted).toBe(false);
    expect(events).toEqual([]);
  });

  it.each([
    ['TLS inside', [0x41, 0x4d, 0x51, 0x50, 2, 1, 0, 0], 'protocol_unsupported'],
    ['AMQP 0-9-1', [0x41, 0x4d, 0x51, 0x50, 0, 0, 9, 1], 'protocol_unsupported'],
    ['AMQP 1.1', [0x41, 0x4d, 0x51, 0x50, 0, 1, 1, 0], 'protocol_unsupported'],
    ['HTTP', [...Buffer.from('GET / HTTP/1.1\r\n\r\n')], 'protocol_error'],
  ])('ends a connection that begins with %s, and says what it speaks', async (_name, bytes, error) => {
    const { events, accepted, deviceEnd } = knock();
    deviceEnd.write(Buffer.from(bytes));
    const answer = await said(deviceEnd);
    expect(await accepted).toBe(false);
    expect(events).toEqual(refused(error));
    if (error === 'protocol_unsupported') expect(answer.subarray(-8)).toEqual(SASL_HEADER);
  });

  it('takes no more than 16 KiB from who has proved nothing', async () => {
    const { events, accepted, device } = knockAs();
    await device.opened();
    const sender = await device.send('$cbs');
    // Messages that exceed the limit together.
    const over = device.over;
    for (let sent = 0; sent < 5; sent++) sender.send({ body: 'x'.repeat(14_000) });
    await over;
    expect(await accepted).toBe(false);
    expect(device.closeCondition).toBe('amqp:link:message-size-exceeded');
    expect(events).toEqual(refused('too_large'));
  });

  it('waits for no frame of more than 16 KiB from who has proved nothing', async () => {
    const { events, accepted, device, deviceEnd } = knockAs();
    await device.opened();
    deviceEnd.write(Buffer.from([0, 0, 0x40, 1, 2, 0, 0, 0]));
    expect(await accepted).toBe(false);
    expect(events).toEqual(refused('too_large'));
  });

  it('takes more from who has', async () => {
    const { channels, device, clock } = knockAs();
    await device.opened();
    await device.putToken({ deviceId: 'd1' });
    const sender = await device.send('$cbs');
    for (let sent = 0; sent < 10; sent++) sender.send({ body: 'x'.repeat(14_000) });
    await clock.advance(0);
    await device.attachStreams({ deviceId: 'd1' });
    expect(channels[0]?.takesOffers).toBe(true);
  });

  it('closes a device that is silent for one and a half of the idle-time-out announced', async () => {
    const { clock, channels, device } = knockAs();
    await device.opened();
    expect(device.engine['remote'].open.value[4].value).toBe(60_000);
    await device.putToken({ deviceId: 'd1' });
    await clock.advance(60_000);
    device.showLife();
    await clock.advance(89_999);
    expect(device.closeCondition).toBeUndefined();
    await clock.advance(1);
    expect(await channels[0]?.closed).toMatchObject({ code: 'keepalive_timeout' });
    await device.over;
    expect(device.closeCondition).toBe('com.microsoft:timeout');
  });

  it('shows life when half of what the device asks for has passed without a frame', async () => {
    const { clock, deviceEnd } = knock();
    const device = new AmqpDevice(deviceEnd, undefined, { idle_time_out: 10_000 });
    await device.opened();
    await device.putToken({ deviceId: 'd1' });
    const chunks: Buffer[] = [];
    deviceEnd.on('data', (chunk: Buffer) => chunks.push(chunk));
    await clock.advance(4_999);
    expect(chunks).toEqual([]);
    await clock.advance(1);
    await clock.advance(7_000);
    expect(chunks).toEqual([Buffer.from([0, 0, 0, 8, 2, 0, 0, 0]), Buffer.from([0, 0, 0, 8, 2, 0, 0, 0])]);
  });

  it.each([
    ['an idle-time-out that cannot be kept', { idle_time_out: 999 }, 'amqp:not-implemented'],
    ['frames too small for a message to be cut into', { max_frame_size: 511 }, 'amqp:decode-error'],
  ])('refuses an open with %s', async (_name, open, condition) => {
    const { accepted, deviceEnd } = knock();
    const device = new AmqpDevice(deviceEnd, undefined, open);
    await device.over;
    expect(await accepted).toBe(false);
    expect(device.closeCondition).toBe(condition);
  });

  it('ends when the device ends its side', async () => {
    const { channels, device } = knockAs();
    await device.opened();
    await device.putToken({ deviceId: 'd1' });
    device.connection.end();
    expect(await channels[0]?.closed).toMatchObject({ code: 'device_gone' });
    await device.over;
  });
});
