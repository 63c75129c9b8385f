import { CulvertError, type Identity, type Permission } from '@culvert/protocol';
import { SHARED_ACCESS_POLICIES } from '../registry/shared-access-policies.ts';
import type { Principal } from './principal.ts';

/** What each action needs: the one table of who may do what. */
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
  // A permission to disable a device includes closing one of its streams.
  'stream.close': 'RegistryWrite',
} as const satisfies Record<string, Permission>;

/** Everything a principal can ask for. */
export type Action = keyof typeof REQUIRED;

/**
 * Returns when the principal may do it. A device or module may connect, as itself; a device may see to its own modules besides (Azure's
 * clients do so). A policy may do what it permits, to all.
 * @param subject whom the action is about, where it is about one
 * @throws CulvertError `forbidden`
 */
export function authorize(principal: Principal, action: Action, subject?: Identity): void {
  const { identity } = principal;
  const may =
    identity === undefined
      ? principal.permissions.has(REQUIRED[action])
      : subject !== undefined && isOwnAffair(identity, action, subject);
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

function isOwnAffair(self: Identity, action: Action, subject: Identity): boolean {
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
