import { X509Certificate } from 'node:crypto';
import { CulvertError } from '@culvert/protocol';
import { deviceCertificate, devicePrincipal } from '@culvert/testkit';
import { describe, expect, it } from 'vitest';
import type { DeviceCredential } from '../../auth/authenticate.ts';
import { NEVER, OFFER, openListener } from './amqp-listener.fixture.ts';

const A = { deviceId: 'a' };
const B = { deviceId: 'b' };
const HOUR_MS = 3_600_000;

const { cert, sha1, sha256 } = await deviceCertificate('a');
const certificate = { certificate: new X509Certificate(cert), sent: [], commonName: 'a', sha1, sha256 };

/** A connection that two devices share, and the channels of both. */
async function shared() {
  const listener = await openListener();
  for (const device of [A, B]) await listener.device.putToken(device);
  const [a, b] = listener.channels;
  if (a === undefined || b === undefined) throw new Error('two channels were due');
  return { ...listener, a, b };
}

describe('one connection of several devices', () => {
  it('has a channel for each', async () => {
    const { device, a, b, accepted } = await shared();
    expect(await accepted).toBe(true);
    await device.attachStreams(A);
    expect([a.takesOffers, b.takesOffers]).toEqual([true, false]);
    await expect(b.offer(OFFER, NEVER)).rejects.toMatchObject({ code: 'device_gone' });
    await device.attachStreams(B);
    const answer = b.offer(OFFER, NEVER);
    const { correlationId } = await device.nextOffer();
    device.answer({ correlationId, accepted: true });
    expect(await answer).toEqual({ accepted: true });
  });

  it('outlives the end of one of its channels', async () => {
    const { device, a, b, ended, clock } = await shared();
    await device.attachStreams(A);
    a.close(new CulvertError('taken_over'));
    a.close(new CulvertError('draining'));
    expect(await a.closed).toMatchObject({ code: 'taken_over' });
    await device.event('receiver_close');
    const stolen = { address: 'amqps://hub.example/devices/a/streams', condition: 'amqp:link:stolen' };
    expect(device.detached).toEqual([stolen, stolen]);
    await device.attachStreams(B);
    expect(b.takesOffers).toBe(true);
    await expect(device.send('/devices/a/streams')).rejects.toThrow('amqp:unauthorized-access');
    await clock.advance(0);
    expect([...ended.keys()]).toEqual([a]);
  });

  it('ends with the last of them, and tells why', async () => {
    const { device, a, b } = await shared();
    a.close(new CulvertError('revoked'));
    b.close(new CulvertError('draining'));
    await device.over;
    expect(device.closeCondition).toBe('amqp:connection:forced');
  });

  it('is left by a device that detaches its links, to which it may come back', async () => {
    const { device, a, channels, events, clock } = await shared();
    await device.attachStreams(A);
    await device.detachStreams();
    expect(await a.closed).toMatchObject({ code: 'device_gone', message: 'The device detached its links.' });
    await clock.advance(0);
    expect(events.at(-1)).toMatchObject({ type: 'device-detached', deviceId: 'a', error: 'device_gone' });
    await device.attachStreams(A);
    expect(channels.at(-1)).toMatchObject({ identity: A, takesOffers: true });
    expect(channels).toHaveLength(3);
  });

  it('is over when all have left it so', async () => {
    const { device, a, b } = await shared();
    await device.attachStreams(A);
    await device.detachStreams();
    await device.attachStreams(B);
    // The connection may end before the second detach is answered.
    device.detachStreams().catch(() => {});
    expect((await Promise.all([a.closed, b.closed])).map(({ code }) => code)).toEqual(['device_gone', 'device_gone']);
    await device.over;
  });

  it('carries no identity beyond the 999th', async () => {
    const { device, channels } = await openListener();
    const puts = Array.from({ length: 999 }, (_, index) => device.putToken({ deviceId: `d${index}` }));
    expect(new Set((await Promise.all(puts)).map(({ status }) => status))).toEqual(new Set([200]));
    expect(channels).toHaveLength(999);
    expect(await device.putToken({ deviceId: 'more' })).toMatchObject({ status: 429 });
    expect(await device.putToken({ deviceId: 'd7' })).toMatchObject({ status: 200 });
  });
});

describe('a token put again', () => {
  it('renews the channel, which then lives as long as the newer one', async () => {
    let expiresAt = 0;
    const { device, channels, clock, ended } = await openListener({
      authenticate: async ({ identity }) => devicePrincipal(identity, { expiresAt }),
    });
    expiresAt = clock.now() + HOUR_MS;
    await device.putToken(A);
    const channel = channels[0];
    expiresAt += HOUR_MS;
    expect(await device.putToken(A)).toMatchObject({ status: 200 });
    expect(channel?.principal.expiresAt).toBe(expiresAt);
    // The channel is attached again, so that its newer credential is checked.
    expect(channels).toEqual([channel, channel]);
    for (let minutes = 0; minutes < 119; minutes++) {
      await clock.advance(60_000);
      device.showLife();
      await clock.advance(0);
    }
    expect(ended.size).toBe(0);
    await clock.advance(60_000);
    expect(await channel?.closed).toMatchObject({ code: 'token_expired' });
    await device.over;
    expect(device.closeCondition).toBe('amqp:unauthorized-access');
    await clock.advance(2_000);
    expect(clock.timers).toBe(0);
  });

  it('changes nothing when it is refused', async () => {
    let isGood = true;
    const { device, channels, ended } = await openListener({
      authenticate: async ({ identity }) => {
        if (!isGood) throw new CulvertError('token_expired');
        return devicePrincipal(identity);
      },
    });
    await device.putToken(A);
    isGood = false;
    expect(await device.putToken(A)).toMatchObject({ status: 401, description: 'The token has expired.' });
    await device.attachStreams(A);
    expect(channels).toHaveLength(1);
    expect(ended.size).toBe(0);
  });
});

describe('a put-token', () => {
  it.each([
    ['hub.example/devices/a', A],
    ['hub.example%2Fdevices%2Fa', A],
    ['hub.example%2fdevices%2fa%2525', { deviceId: 'a%25' }],
    ['hub.example:8443/devices/a/', A],
    ['hub.example/devices/a%3Ab/modules/m', { deviceId: 'a:b', moduleId: 'm' }],
    ['amqps://hub.example/devices/a', A],
    ['hub.example/devices/100%', { deviceId: '100%' }],
  ])('for %s is one for the identity in it', async (name, identity) => {
    const { device, channels } = await openListener();
    expect(await device.putToken(name)).toMatchObject({ status: 200 });
    expect(channels).toMatchObject([{ identity }]);
  });

  it.each([
    '/',
    'hub.example/devices',
    'hub.example/devices/',
    'hub.example/twins/a',
    'hub.example/devices/a/b',
    'hub.example/devices/a b',
    '',
  ])('for %j is refused', async (name) => {
    const { device, channels } = await openListener();
    expect(await device.putToken(name)).toMatchObject({ status: 400 });
    expect(channels).toEqual([]);
  });

  it.each([
    ['another operation', { operation: 'delete-token' }, 400],
    ['another kind of token', { type: 'jwt' }, 400],
    ['no name', { name: undefined }, 400],
    ['a name that is no text', { name: 7 }, 400],
    ['no properties', undefined, 400],
    ['no token', {}, 401, 7],
    ['a token that is too long', {}, 401, 't'.repeat(4_097)],
  ])('with %s is refused', async (_name, change, status, body: unknown = 'token') => {
    const { device } = await openListener();
    const receiver = await device.receive('$cbs');
    const sender = await device.send('$cbs');
    const properties = { operation: 'put-token', type: 'servicebus.windows.net:sastoken', name: 'h/devices/a' };
    sender.send({
      message_id: 7,
      ...(change === undefined ? {} : { application_properties: { ...properties, ...change } }),
      body,
    });
    expect(await device.next(receiver)).toMatchObject({
      correlation_id: 7,
      application_properties: { 'status-code': status },
    });
  });

  it('waits with its answer until there is a link for it, and answers in the session that asked', async () => {
    const { device } = await openListener();
    const other = device.engine.create_session();
    other.begin();
    const sender = await device.send('$cbs');
    const properties = { operation: 'put-token', type: 'servicebus.windows.net:sastoken', name: 'h/devices/a' };
    sender.send({ message_id: 'one', application_properties: properties, body: 'token' });
    await device.event('accepted');
    const receiver = await device.receive('$cbs', { credit_window: 0 });
    receiver.add_credit(1);
    expect(await device.next(receiver)).toMatchObject({ correlation_id: 'one' });
  });
});

describe('who shows a credential for all of the connection', () => {
  it('speaks by PLAIN for a device', async () => {
    const seen: DeviceCredential[] = [];
    const { device, channels } = await openListener({
      sasl: { mechanism: 'PLAIN', response: '\0a@b@sas.root@sas.hub.example\0secret' },
      authenticate: async (credential) => {
        seen.push(credential);
        return devicePrincipal(credential.identity);
      },
    });
    await device.attachStreams({ deviceId: 'a@b@sas.root' });
    expect(seen).toMatchObject([{ identity: { deviceId: 'a@b@sas.root' }, token: 'secret' }]);
    expect(channels).toMatchObject([{ takesOffers: true }]);
  });

  it('speaks by PLAIN with a policy for the devices that its links name', async () => {
    const { device, channels, events } = await openListener({
      sasl: { mechanism: 'PLAIN', response: '\0device@sas.root.hub.example\0token' },
      authenticate: async ({ identity, token }) => {
        if (identity.deviceId === 'b') throw new CulvertError('unauthorized');
        return devicePrincipal(identity, { name: `policy:device, ${token}` });
      },
    });
    await device.attachStreams(A);
    expect(channels).toMatchObject([{ identity: A, principal: { name: 'policy:device, token' }, takesOffers: true }]);
    await expect(device.send('/devices/b/streams')).rejects.toThrow('amqp:unauthorized-access');
    expect(device.detached).toEqual([{ address: '/devices/b/streams', condition: 'amqp:unauthorized-access' }]);
    expect(events.at(-1)).toMatchObject({ type: 'connection-refused', error: 'unauthorized' });
  });

  it.each([
    ['EXTERNAL', { mechanism: 'EXTERNAL' }],
    ['no SASL', null],
  ])('speaks by its certificate, with %s', async (_name, sasl) => {
    const seen: DeviceCredential[] = [];
    const { device, channels } = await openListener({
      certificate,
      sasl,
      authenticate: async (credential) => {
        seen.push(credential);
        return devicePrincipal(credential.identity);
      },
    });
    await device.attachStreams(A);
    expect(seen).toEqual([{ identity: A, token: undefined, certificate }]);
    expect(channels).toMatchObject([{ takesOffers: true }]);
  });

  it('is looked up once for all the links that it attaches at once', async () => {
    let count = 0;
    const { device, channels } = await openListener({
      certificate,
      sasl: { mechanism: 'EXTERNAL' },
      authenticate: async ({ identity }) => {
        count++;
        return devicePrincipal(identity);
      },
    });
    await Promise.all([device.attachStreams(A), device.send('/devices/a/messages/events')]);
    expect(channels).toMatchObject([{ takesOffers: true }]);
    expect(count).toBe(1);
  });

  it('is told that its time is over, be its links still being looked up', async () => {
    const { device, accepted, clock } = await openListener({
      certificate,
      sasl: { mechanism: 'EXTERNAL' },
      authenticate: () => new Promise(() => {}),
    });
    const sending = expect(device.send('/devices/a/streams')).rejects.toThrow('over');
    await clock.advance(0);
    await clock.advance(10_000);
    await sending;
    expect(await accepted).toBe(false);
    expect(device.closeCondition).toBe('com.microsoft:timeout');
    await clock.advance(2_000);
    expect(clock.timers).toBe(0);
  });

  it('is by its certificate what that is for, when it says nothing for two seconds', async () => {
    const { device, channels, clock, accepted } = await openListener({ certificate, sasl: null });
    await clock.advance(1_999);
    expect(channels).toEqual([]);
    await clock.advance(1);
    expect(await accepted).toBe(true);
    expect(channels).toMatchObject([{ identity: A, takesOffers: false }]);
    await device.attachStreams(A);
    expect(channels).toMatchObject([{ identity: A, takesOffers: true }]);
  });

  it('is not what its certificate is for, when a link says that it is somebody else, or it proves nothing', async () => {
    const { device, channels, clock } = await openListener({ certificate, sasl: null });
    await device.attachStreams(B);
    await clock.advance(2_000);
    expect(channels).toMatchObject([{ identity: B }]);
    const refused = await openListener({
      certificate,
      sasl: null,
      authenticate: async () => {
        throw new CulvertError('unauthorized');
      },
    });
    await refused.clock.advance(10_000);
    expect(await refused.accepted).toBe(false);
    expect(refused.events).toMatchObject([{ type: 'connection-refused', error: 'handshake_timeout' }]);
    await refused.clock.advance(2_000);
    expect(refused.clock.timers).toBe(0);
  });
});
