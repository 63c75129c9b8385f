import { CulvertError, type Identity, type Permission } from '@culvert/protocol';
import { SHARED_ACCESS_POLICIES } from '../registry/shared-access-policies.ts';
import type { Principal } from './principal.ts';

/** The permission that each action requires. No other table grants actions. */
const REQUIRED = {
  'stream.open': 'ServiceConnect',
  'service.connect': 'ServiceConnect',
  'device.connect': 'DeviceConnect',
  'registry.read': 'RegistryRead',
  'registry.write': 'RegistryWrite',
  'module.read': 'RegistryRead',
  'module.write': 'RegistryWrite',
  'policy.manage': 'PolicyManage',
  'monitor.read': 'MonitorRead',
  // A principal that may disable a device may also close one of its streams.
  'stream.close': 'RegistryWrite',
} as const satisfies Record<string, Permission>;

/** The actions that a principal can request. */
export type Action = keyof typeof REQUIRED;

/**
 * Returns if the principal may perform the action. A device or module may connect as itself; a device may also read and write its own modules, as Azure's
 * clients do. A policy may perform the actions that its permissions allow, on all identities.
 * @param subject the identity that the action concerns, if it concerns one
 * @throws CulvertError `forbidden`
 */
export function authorize(principal: Principal, action: Action, subject?: Identity): void {
  const { identity } = principal;
  const may =
    identity === undefined
      ? principal.permissions.has(REQUIRED[action])
      : subject !== undefined && mayAsIdentity(identity, action, subject);
  if (may) return;
  const permission = REQUIRED[action];
  throw new CulvertError(
    'forbidden',
    `The credential lacks the permission ${permission} for this; the policies that have it: ${policiesWith(permission)}.`,
  );
}

function policiesWith(permission: Permission): string {
  const all = Object.entries(SHARED_ACCESS_POLICIES);
  return all.flatMap(([name, permissions]) => (permissions.includes(permission) ? [name] : [])).join(', ');
}

function mayAsIdentity(self: Identity, action: Action, subject: Identity): boolean {
  if (self.deviceId !== subject.deviceId) return false;
  switch (action) {
    case 'device.connect':
      return self.moduleId === subject.moduleId;
    case 'module.read':
    case 'module.write':
      return self.moduleId === undefined;
    default:
      return false;
  }
}
