import { X509Certificate } from 'node:crypto';
import { CulvertError } from '@culvert/protocol';
import { deviceCertificate, type FakeClock, policyPrincipal } from '@culvert/testkit';
import type { Receiver, Sender } from 'rhea';
import { describe, expect, it } from 'vitest';
import { keyDigest } from '../../auth/key-digest.ts';
import type { Principal } from '../../auth/principal.ts';
import type { HubEvent } from '../../observe/events.ts';
import type { PolicyRecord } from '../../registry/registry.ts';
import { ServiceConnections } from '../service-connections.ts';
import { openListener } from './amqp-listener.fixture.ts';

const HUB_AUDIENCE = 'amqps://hub.example:5671/';
const MESSAGES = 'amqps://hub.example:5671/messages/deviceBound';
const FEEDBACK = 'amqps://hub.example:5671/messages/serviceBound/feedback';

const POLICY: PolicyRecord = {
  name: 'service',
  permissions: ['ServiceConnect'],
  primaryKey: 'Zmlyc3Q=',
  secondaryKey: 'c2Vjb25k',
};

const principal = (expiresAt = Number.POSITIVE_INFINITY) =>
  policyPrincipal('service', {
    expiresAt,
    proof: { kind: 'key', owner: { kind: 'policy', policy: 'service' }, keyDigest: keyDigest(POLICY.primaryKey) },
  });

interface ListenerOptions extends NonNullable<Parameters<typeof openListener>[0]> {
  readonly authenticateService?: (token: string) => Promise<Principal>;
  readonly policy?: () => PolicyRecord | undefined;
}

/** A listener that accepts services, by default with any token. */
async function openServiceListener({ authenticateService, policy = () => POLICY, ...options }: ListenerOptions = {}) {
  const told: HubEvent[] = [];
  const draining = new AbortController();
  let clock: FakeClock | undefined;
  const services = new ServiceConnections({
    authenticate: authenticateService ?? (async () => principal()),
    policies: { get: async () => policy() },
    draining: draining.signal,
    clock: { now: () => clock?.now() ?? 0, setTimer: () => ({ cancel: () => {} }) },
    onEvent: (event) => told.push(event),
  });
  const listener = await openListener({ services, ...options });
  clock = listener.clock;
  return { ...listener, services, told, draining };
}

/** What the C# service client does when it is opened. */
async function openAsService(options: ListenerOptions = {}) {
  const listener = await openServiceListener(options);
  expect(await listener.device.putToken(HUB_AUDIENCE)).toEqual({ status: 200, description: 'OK' });
  const properties = { 'com.microsoft:client-version': 'Microsoft.Azure.Devices/1.28.0' };
  const sender: Sender = await listener.device.send(MESSAGES, { properties });
  const receiver: Receiver = await listener.device.receive(FEEDBACK, { properties });
  return { ...listener, sender, receiver };
}

describe('a service', () => {
  it('is let in with both its links, and leaves by itself', async () => {
    const { accepted, services, told, events, channels, device, clock } = await openAsService();
    expect(await accepted).toBe(true);
    expect([services.size, channels]).toEqual([1, []]);
    await clock.advance(5_000);
    device.engine.close();
    await device.over;
    await clock.advance(2_000);
    expect([services.size, clock.timers, events]).toEqual([0, 0, []]);
    const about = { principal: 'policy:service', protocol: 'amqp', remoteAddress: '192.0.2.1' };
    expect(told).toEqual([
      { type: 'service-connected', ...about },
      {
        ...{ type: 'service-disconnected', ...about, clientVersion: 'Microsoft.Azure.Devices/1.28.0' },
        ...{ error: 'device_gone', detail: 'The device closed the connection.', connectedMs: 5_000 },
      },
    ]);
  });

  it.each(['hub.example', 'hub.example:5671', 'hub.example%2F', 'amqps://hub.example:5671'])(
    'may put its token for %s, and attach in any case of its addresses',
    async (name) => {
      const { device, services } = await openServiceListener();
      expect(await device.putToken(name)).toMatchObject({ status: 200 });
      await device.send('/messages/devicebound');
      await device.receive('/messages/serviceBound/feedback');
      expect(services.size).toBe(1);
    },
  );

  it('has each of its messages rejected, as not supported', async () => {
    const { device, sender } = await openAsService();
    for (let count = 0; count < 3; count++) {
      sender.send({ to: '/devices/d1/messages/deviceBound', body: 'hello' });
      const { delivery } = await device.event('rejected');
      expect(delivery?.remote_state?.['error']?.condition).toBe('amqp:not-implemented');
    }
  });

  it('may be a policy by SASL PLAIN', async () => {
    const tokens: string[] = [];
    const { device, services } = await openServiceListener({
      sasl: { mechanism: 'PLAIN', response: '\0service@sas.root.hub.example\0secret' },
      authenticateService: async (token) => {
        tokens.push(token);
        return principal();
      },
    });
    await Promise.all([device.send(MESSAGES), device.receive(FEEDBACK)]);
    expect([tokens, services.size]).toEqual([['secret'], 1]);
  });

  it('reaches nothing else: it is no device, has no other node, and neither link the other way', async () => {
    const { device, events, channels } = await openAsService();
    await expect(device.send('/devices/d1/streams')).rejects.toThrow('amqp:unauthorized-access');
    await expect(device.receive('/devices/d1/messages/events')).rejects.toThrow('amqp:unauthorized-access');
    expect(await device.putToken({ deviceId: 'd1' })).toMatchObject({ status: 401 });
    await expect(device.receive('/messages/serviceBound/filenotifications')).rejects.toThrow('amqp:not-found');
    await expect(device.receive(MESSAGES)).rejects.toThrow('amqp:not-found');
    await expect(device.send(FEEDBACK)).rejects.toThrow('amqp:not-found');
    expect(channels).toEqual([]);
    const refusal = { type: 'connection-refused', error: 'unauthorized', claimed: { deviceId: 'd1' } };
    expect(events).toMatchObject([refusal, refusal, refusal]);
  });

  it('is no device by its certificate either', async () => {
    const { cert, sha1, sha256 } = await deviceCertificate('d1');
    const certificate = { certificate: new X509Certificate(cert), sent: [], commonName: 'd1', sha1, sha256 };
    const { device, channels, clock } = await openAsService({ certificate });
    await expect(device.send('/devices/d1/streams')).rejects.toThrow('amqp:unauthorized-access');
    await clock.advance(10_000);
    expect(channels).toEqual([]);
  });

  it('is not let on a connection of devices', async () => {
    const { device, services, channels } = await openServiceListener();
    await device.putToken({ deviceId: 'd1' });
    expect(await device.putToken(HUB_AUDIENCE)).toMatchObject({ status: 401 });
    await expect(device.send(MESSAGES)).rejects.toThrow('amqp:unauthorized-access');
    expect([services.size, channels.length]).toEqual([0, 1]);
  });

  it('is refused without the permission, and its links without a token', async () => {
    const { device, accepted, clock, events, services } = await openServiceListener({
      authenticateService: () => Promise.reject(new CulvertError('forbidden')),
    });
    expect(await device.putToken(HUB_AUDIENCE)).toMatchObject({ status: 401 });
    await expect(device.send(MESSAGES)).rejects.toThrow('amqp:unauthorized-access');
    await clock.advance(10_000);
    expect(await accepted).toBe(false);
    expect(services.size).toBe(0);
    expect(events).toMatchObject([
      { type: 'connection-refused', error: 'forbidden' },
      { type: 'connection-refused', error: 'unauthorized' },
    ]);
  });

  it('is bounded in number, over all policies', async () => {
    const listener = await openServiceListener();
    const closed = new Promise<CulvertError>(() => {});
    for (let count = 0; count < 1_024; count++) {
      listener.services.attach({
        ...{ principal: principal(), protocol: 'amqp', remoteAddress: '192.0.2.2', connectedAt: 0 },
        ...{ close: () => {}, closed },
      });
    }
    expect(await listener.device.putToken(HUB_AUDIENCE)).toMatchObject({ status: 429 });
    expect([listener.services.size, listener.events]).toMatchObject([1_024, [{ error: 'too_many_requests' }]]);
  });
});

describe('a service’s token', () => {
  it('expires unless it is put again, which keeps the connection and its links', async () => {
    let expiresAt = 0;
    const { device, clock, told, sender } = await openAsService({
      authenticateService: async () => principal(expiresAt || Number.POSITIVE_INFINITY),
    });
    for (let count = 0; count < 3; count++) {
      expiresAt = clock.now() + 50_000;
      expect(await device.putToken(HUB_AUDIENCE)).toMatchObject({ status: 200 });
      await clock.advance(40_000);
    }
    expect(sender.is_open()).toBe(true);
    expect(told).toHaveLength(1);
    await clock.advance(10_000);
    await device.over;
    expect(device.closeCondition).toBe('amqp:unauthorized-access');
    expect(told.at(-1)).toMatchObject({ type: 'service-disconnected', error: 'token_expired' });
  });

  it.each<[string, PolicyRecord]>([
    ['its key is rotated away', { ...POLICY, primaryKey: 'bmV3', secondaryKey: 'bmV3ZXI=' }],
    ['the permission is taken from its policy', { ...POLICY, permissions: ['RegistryRead'] }],
  ])('opens nothing any more at once when %s', async (_name, changed) => {
    const { device, services, told } = await openAsService();
    services.revocation.policyChanged({ ...changed, name: 'other' });
    services.revocation.policyChanged({ ...POLICY, primaryKey: 'bmV3', secondaryKey: POLICY.primaryKey });
    expect(services.size).toBe(1);
    services.revocation.policyChanged(changed);
    await device.over;
    expect(device.closeCondition).toBe('amqp:unauthorized-access');
    expect(told.at(-1)).toMatchObject({ type: 'service-disconnected', error: 'revoked' });
    expect(services.size).toBe(0);
  });

  it.each<[string, PolicyRecord | undefined]>([
    ['rotated', { ...POLICY, primaryKey: 'bmV3', secondaryKey: 'bmV3ZXI=' }],
    ['deleted', undefined],
  ])('ends the connection when its policy was %s while it was looked at', async (_name, now) => {
    const { device, told, clock } = await openServiceListener({ policy: () => now });
    device.putToken(HUB_AUDIENCE).catch(() => {});
    await device.over;
    await clock.advance(0);
    expect(told.at(-1)).toMatchObject({ type: 'service-disconnected', error: 'revoked' });
  });

  it('is of no use while the hub stops, and the connection ends then', async () => {
    const { device, draining, told } = await openAsService();
    draining.abort(new CulvertError('draining'));
    await device.over;
    expect(device.closeCondition).toBe('amqp:connection:forced');
    expect(told.at(-1)).toMatchObject({ type: 'service-disconnected', error: 'draining' });
  });
});
