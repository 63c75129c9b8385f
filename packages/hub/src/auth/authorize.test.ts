import { PERMISSIONS, type Permission } from '@culvert/protocol';
import { sampleDevice } from '@culvert/testkit';
import { describe, expect, it } from 'vitest';
import { SHARED_ACCESS_POLICIES } from '../registry/shared-access-policies.ts';
import { type Action, authorize } from './authorize.ts';
import { keyDigest } from './key-digest.ts';
import type { Principal } from './principal.ts';
import { principalStillHolds } from './revocation.ts';

const record = { ...sampleDevice('d'), etag: 'e' };
const asDevice: Principal = {
  name: 'device:d',
  permissions: new Set(['DeviceConnect']),
  deviceId: 'd',
  key: {
    owner: { kind: 'device', deviceId: 'd', generationId: record.generationId },
    keyDigest: keyDigest(record.secondaryKey),
  },
  expiresAt: 1,
};
const asPolicy = (name: string, permissions: readonly Permission[] = []): Principal => ({
  name: `policy:${name}`,
  permissions: new Set(permissions),
  deviceId: undefined,
  key: { owner: { kind: 'policy', policy: name }, keyDigest: keyDigest(record.primaryKey) },
  expiresAt: 1,
});

const ACTIONS: Action[] = ['stream.open', 'device.connect', 'registry.read', 'registry.write', 'policy.manage'];
const allowed = (principal: Principal, deviceId = 'd') =>
  ACTIONS.filter((action) => {
    try {
      authorize(principal, action, { deviceId });
      return true;
    } catch (error) {
      expect(error).toMatchObject({ code: 'forbidden' });
      return false;
    }
  });

describe('who may do what', () => {
  it('is what each policy permits', () => {
    const table = Object.entries(SHARED_ACCESS_POLICIES).map(([name, list]) => [name, allowed(asPolicy(name, list))]);
    expect(Object.fromEntries(table)).toEqual({
      iothubowner: ACTIONS,
      service: ['stream.open'],
      device: ['device.connect'],
      registryRead: ['registry.read'],
      registryReadWrite: ['registry.read', 'registry.write'],
    });
  });

  it('lets a device only connect, and only as itself, whatever else it might hold', () => {
    expect(allowed(asDevice)).toEqual(['device.connect']);
    expect(allowed(asDevice, 'D')).toEqual([]);
    expect(allowed({ ...asDevice, permissions: new Set(PERMISSIONS) })).toEqual(['device.connect']);
    expect(() => authorize(asDevice, 'device.connect')).toThrow();
  });
});

describe('what a principal was let in for', () => {
  it('ends for a device when it is deleted, made anew, disabled or loses the key', () => {
    const holds = (over: Partial<typeof record>) => principalStillHolds(asDevice, { device: { ...record, ...over } });
    expect(holds({})).toBe(true);
    expect(holds({ etag: 'f', statusReason: 'x', primaryKey: 'AAAA' })).toBe(true);
    expect(holds({ primaryKey: record.secondaryKey, secondaryKey: 'AAAA' })).toBe(true);
    expect(holds({ secondaryKey: 'AAAA' })).toBe(false);
    expect(holds({ status: 'disabled' })).toBe(false);
    expect(holds({ generationId: 'another' })).toBe(false);
    expect(principalStillHolds(asDevice, { device: undefined })).toBe(false);
  });

  it('is not touched by what happens to others', () => {
    expect(principalStillHolds(asDevice, { device: { ...record, deviceId: 'e', status: 'disabled' } })).toBe(true);
    const policy = { name: 'device', permissions: [], primaryKey: 'AAAA', secondaryKey: 'AAAA' };
    expect(principalStillHolds(asDevice, { policy })).toBe(true);
    expect(principalStillHolds(asPolicy('service'), { policy })).toBe(true);
    expect(principalStillHolds(asDevice, {})).toBe(true);
  });

  it('ends for a policy when its key is rotated away, and for its device with that', () => {
    const policy = { name: 'device', permissions: [], primaryKey: 'AAAA', secondaryKey: record.primaryKey };
    expect(principalStillHolds(asPolicy('device'), { policy })).toBe(true);
    expect(principalStillHolds(asPolicy('device'), { policy: { ...policy, secondaryKey: 'BBBB' } })).toBe(false);
    expect(principalStillHolds(asPolicy('device'), { device: { ...record, secondaryKey: 'AAAA' } })).toBe(true);
    expect(principalStillHolds(asPolicy('device'), { device: { ...record, status: 'disabled' } })).toBe(false);
    expect(principalStillHolds(asPolicy('device'), { device: undefined })).toBe(false);
  });
});
