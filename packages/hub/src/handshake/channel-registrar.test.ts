import type { CulvertError } from '@culvert/protocol';
import { FakeClock } from '@culvert/testkit';
import { expect, it } from 'vitest';
import { keyDigest } from '../auth/key-digest.ts';
import type { Principal } from '../auth/principal.ts';
import type { ControlChannel } from '../control/control-channel.ts';
import { Router } from '../control/router.ts';
import { UnansweredOffers } from '../control/unanswered-offers.ts';
import type { IdentityRecord } from '../registry/registry.ts';
import { ChannelRegistration } from './channel-registrar.ts';
import { revokeOnChange } from './revoke.ts';
import { StreamTable } from './stream-table.ts';

const KEY = Buffer.alloc(32, 1).toString('base64');

const device: IdentityRecord = {
  deviceId: 'd',
  generationId: 'g',
  etag: '1',
  status: 'enabled',
  statusReason: null,
  statusUpdatedAt: 0,
  createdAt: 0,
  updatedAt: 0,
  authentication: { type: 'sas', primaryKey: KEY, secondaryKey: KEY },
  managedBy: null,
  iotEdge: false,
  sshHostKeys: [],
};

const principal = (over: Partial<Principal>): Principal => ({
  name: 'device:d',
  permissions: new Set(['DeviceConnect']),
  identity: { deviceId: 'd' },
  proof: { kind: 'key', owner: { kind: 'identity', deviceId: 'd', generationId: 'g' }, keyDigest: keyDigest(KEY) },
  expiresAt: Number.MAX_SAFE_INTEGER,
  ...over,
});

function later<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

it('closes a channel whose device was disabled while it was let in, and ends what it had already accepted', async () => {
  const clock = new FakeClock();
  const router = new Router(clock);
  const streams = new StreamTable({ clock, onUnpaired: () => undefined });
  const ended: [string, string][] = [];
  const revocation = revokeOnChange({
    router,
    streams,
    endAtGateway: (streamId, error) => ended.push([streamId, error.code]),
  });
  const found = later<IdentityRecord | undefined>();
  const store = {
    registry: { put: () => Promise.reject(new Error('nothing is written')), get: () => found.promise },
    policies: { get: () => Promise.resolve(undefined) },
    authorities: { list: () => Promise.resolve([]) },
  };
  const closed = later<CulvertError>();
  const channel: ControlChannel = {
    unanswered: new UnansweredOffers(new FakeClock()),
    identity: { deviceId: 'd' },
    principal: principal({}),
    protocol: 'mqtt',
    remoteAddress: '192.0.2.1',
    connectedAt: 0,
    takesOffers: true,
    offer: () => Promise.resolve({ accepted: true }),
    close: (error) => closed.resolve(error),
    closed: closed.promise,
  };
  new ChannelRegistration({ router, store, revocation, clock, onEvent: () => undefined }).attach(channel);
  const service = principal({
    name: 'policy:service',
    proof: { kind: 'key', owner: { kind: 'policy', policy: 's' }, keyDigest: '' },
  });
  const entry = {
    streamId: '1',
    identity: { deviceId: 'd' },
    streamName: 'ssh',
    service,
    device: undefined,
    requestedAt: 0,
  };
  streams.add({ ...entry, endHandshake: () => false }, 60_000);
  streams.answered('1', channel.principal);
  found.resolve({ ...device, status: 'disabled' });
  expect((await closed.promise).code).toBe('revoked');
  await clock.advance(0);
  expect(ended).toEqual([['1', 'revoked']]);
  expect(clock.timers).toBe(0);
});

it('looks again at a channel whose device has renewed its credential, and does not take it over from itself', async () => {
  const clock = new FakeClock();
  const router = new Router(clock);
  let record: IdentityRecord = device;
  const store = {
    registry: { put: () => Promise.reject(new Error('nothing is written')), get: () => Promise.resolve(record) },
    policies: { get: () => Promise.resolve(undefined) },
    authorities: { list: () => Promise.resolve([]) },
  };
  const closed = later<CulvertError>();
  const channel: ControlChannel = {
    unanswered: new UnansweredOffers(new FakeClock()),
    identity: { deviceId: 'd' },
    principal: principal({}),
    protocol: 'amqp',
    remoteAddress: '192.0.2.1',
    connectedAt: 0,
    takesOffers: true,
    offer: () => Promise.resolve({ accepted: true }),
    close: (error) => closed.resolve(error),
    closed: closed.promise,
  };
  const nothing = () => undefined;
  const revocation = { identityChanged: nothing, policyChanged: nothing, authoritiesChanged: nothing };
  const check = new ChannelRegistration({ router, store, revocation, clock, onEvent: nothing });
  check.attach(channel);
  check.attach(channel);
  await Promise.resolve();
  expect([...router.channels()]).toEqual([channel]);
  const other = Buffer.alloc(32, 2).toString('base64');
  record = { ...device, authentication: { type: 'sas', primaryKey: other, secondaryKey: other } };
  check.attach(channel);
  expect((await closed.promise).code).toBe('revoked');
});
