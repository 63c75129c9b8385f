import { CulvertError, type Permission } from '@culvert/protocol';
import type { Principal } from './principal.ts';

/** What each action needs: the one table of who may do what. */
const REQUIRED = {
  'stream.open': 'ServiceConnect',
  'device.connect': 'DeviceConnect',
  'registry.read': 'RegistryRead',
  'registry.write': 'RegistryWrite',
  'policy.manage': 'PolicyManage',
} as const satisfies Record<string, Permission>;

/** Everything a principal can ask for. */
export type Action = keyof typeof REQUIRED;

/**
 * Returns when the principal may do it. A device may only connect, and only as itself; a policy with `DeviceConnect` as any device.
 * @param subject the device that `device.connect` is about
 * @throws CulvertError `forbidden`
 */
export function authorize(principal: Principal, action: Action, subject?: { readonly deviceId: string }): void {
  const permitted = principal.permissions.has(REQUIRED[action]);
  const ownAffair = action === 'device.connect' && principal.deviceId === subject?.deviceId;
  if (!permitted || (principal.deviceId !== undefined && !ownAffair)) {
    throw new CulvertError('forbidden', `The credential lacks the permission ${REQUIRED[action]} for this.`);
  }
}
