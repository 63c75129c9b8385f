import { type Identity, PERMISSIONS, type Permission } from '@culvert/protocol';
import { sampleDevice } from '@culvert/testkit';
import { describe, expect, it } from 'vitest';
import type { IdentityRecord } from '../registry/registry.ts';
import { SHARED_ACCESS_POLICIES } from '../registry/shared-access-policies.ts';
import { type Action, authorize } from './authorize.ts';
import { keyDigest } from './key-digest.ts';
import type { Principal } from './principal.ts';
import { principalStillHolds } from './revocation.ts';

const keys = {
  primaryKey: Buffer.alloc(32, 1).toString('base64'),
  secondaryKey: Buffer.alloc(32, 2).toString('base64'),
};
const record: IdentityRecord = { ...sampleDevice('d'), etag: 'e', authentication: { type: 'sas', ...keys } };
const withKeys = (over: Partial<typeof keys>) => ({ authentication: { type: 'sas', ...keys, ...over } as const });
const asDevice: Principal = {
  name: 'device:d',
  permissions: new Set(['DeviceConnect']),
  identity: { deviceId: 'd' },
  proof: {
    kind: 'key',
    owner: { kind: 'identity', deviceId: 'd', generationId: record.generationId },
    keyDigest: keyDigest(keys.secondaryKey),
  },
  expiresAt: 1,
};
const asPolicy = (name: string, permissions: readonly Permission[] = []): Principal => ({
  name: `policy:${name}`,
  permissions: new Set(permissions),
  identity: undefined,
  proof: { kind: 'key', owner: { kind: 'policy', policy: name }, keyDigest: keyDigest(keys.primaryKey) },
  expiresAt: 1,
});

const ACTIONS: Action[] = [
  'stream.open',
  'device.connect',
  'registry.read',
  'registry.write',
  'module.read',
  'module.write',
  'policy.manage',
  'monitor.read',
  'stream.close',
];
const allowed = (principal: Principal, subject: Identity = { deviceId: 'd' }) =>
  ACTIONS.filter((action) => {
    try {
      authorize(principal, action, subject);
      return true;
    } catch (error) {
      expect(error).toMatchObject({ code: 'forbidden' });
      return false;
    }
  });

describe('who may do what', () => {
  it('is told to those who may not, with the policies that may', () => {
    const refused = () => authorize(asPolicy('monitor', ['MonitorRead']), 'registry.write');
    expect(refused).toThrow(/permission RegistryWrite .*policies that have it: iothubowner, registryReadWrite\.$/);
  });

  it('is what each policy permits', () => {
    const table = Object.entries(SHARED_ACCESS_POLICIES).map(([name, list]) => [name, allowed(asPolicy(name, list))]);
    expect(Object.fromEntries(table)).toEqual({
      iothubowner: ACTIONS,
      service: ['stream.open'],
      device: ['device.connect'],
      registryRead: ['registry.read', 'module.read'],
      registryReadWrite: ['registry.read', 'registry.write', 'module.read', 'module.write', 'stream.close'],
      monitor: ['monitor.read'],
    });
  });

  it('lets a device connect as itself and see to its own modules, whatever else it might hold', () => {
    const own = ['device.connect', 'module.read', 'module.write'];
    expect(allowed(asDevice)).toEqual(own);
    expect(allowed(asDevice, { deviceId: 'D' })).toEqual([]);
    expect(allowed(asDevice, { deviceId: 'd', moduleId: 'm' })).toEqual(['module.read', 'module.write']);
    expect(allowed({ ...asDevice, permissions: new Set(PERMISSIONS) })).toEqual(own);
    expect(() => authorize(asDevice, 'device.connect')).toThrow();
  });

  it('lets a module connect as itself and nothing else', () => {
    const asModule = { ...asDevice, identity: { deviceId: 'd', moduleId: 'm' } };
    expect(allowed(asModule, { deviceId: 'd', moduleId: 'm' })).toEqual(['device.connect']);
    expect(allowed(asModule, { deviceId: 'd', moduleId: 'n' })).toEqual([]);
    expect(allowed(asModule)).toEqual([]);
  });
});

describe('what a principal was let in for', () => {
  it('ends for a device when it is deleted, made again, disabled or loses the key', () => {
    const holds = (over: Partial<IdentityRecord>) =>
      principalStillHolds(asDevice, { identity: { ...record, ...over } });
    expect(holds({})).toBe(true);
    expect(holds({ etag: 'f', statusReason: 'x', ...withKeys({ primaryKey: 'AAAA' }) })).toBe(true);
    expect(holds(withKeys({ primaryKey: keys.secondaryKey, secondaryKey: 'AAAA' }))).toBe(true);
    expect(holds(withKeys({ secondaryKey: 'AAAA' }))).toBe(false);
    expect(holds({ status: 'disabled' })).toBe(false);
    expect(holds({ generationId: 'another' })).toBe(false);
    expect(principalStillHolds(asDevice, { identity: undefined })).toBe(false);
  });

  it('is not touched by what happens to others', () => {
    expect(principalStillHolds(asDevice, { identity: { ...record, deviceId: 'e', status: 'disabled' } })).toBe(true);
    const policy = { name: 'device', permissions: [], primaryKey: 'AAAA', secondaryKey: 'AAAA' };
    expect(principalStillHolds(asDevice, { policy })).toBe(true);
    expect(principalStillHolds(asPolicy('service'), { policy })).toBe(true);
    expect(principalStillHolds(asDevice, {})).toBe(true);
  });

  it('ends for a policy when its key is rotated away, and for its device with that', () => {
    const policy = { name: 'device', permissions: [], primaryKey: 'AAAA', secondaryKey: keys.primaryKey };
    expect(principalStillHolds(asPolicy('device'), { policy })).toBe(true);
    expect(principalStillHolds(asPolicy('device'), { policy: { ...policy, secondaryKey: 'BBBB' } })).toBe(false);
    expect(
      principalStillHolds(asPolicy('device'), { identity: { ...record, ...withKeys({ secondaryKey: 'AAAA' }) } }),
    ).toBe(true);
    expect(principalStillHolds(asPolicy('device'), { identity: { ...record, status: 'disabled' } })).toBe(false);
    expect(principalStillHolds(asPolicy('device'), { identity: undefined })).toBe(false);
  });
});
