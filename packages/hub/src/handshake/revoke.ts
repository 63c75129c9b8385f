import { CulvertError } from '@culvert/protocol';
import type { Principal } from '../auth/principal.ts';
import { type CredentialChange, principalStillHolds } from '../auth/revocation.ts';
import type { DeviceRecord, RegistryListener } from '../registry/registry.ts';
import type { Router } from '../routing/router.ts';
import type { StreamEntry, StreamTable } from './stream-table.ts';

export interface RevokeDeps {
  readonly router: Router;
  readonly streams: StreamTable;
  readonly endAtGateway: (streamId: string, error: CulvertError) => void;
}

/**
 * Ends the channels and streams whose credential a registry change took away: a device disabled, deleted or made anew, a key in use removed
 * from a device or a policy. Of a stream, both ends count.
 */
export function revokeOnChange(deps: RevokeDeps): RegistryListener {
  const end = (streamId: string, error: CulvertError) => {
    deps.streams.remove(streamId);
    deps.endAtGateway(streamId, error);
  };
  return {
    deviceChanged(deviceId, record) {
      const error = deviceError(record);
      const channel = deps.router.channel(deviceId);
      if (channel !== undefined && !principalStillHolds(channel.principal, { device: record })) channel.close(error);
      deps.streams.endMatching((entry) => {
        if (entry.deviceId !== deviceId) return undefined;
        const gone = record === undefined || record.status === 'disabled' || !holds(entry.device, { device: record });
        return gone ? error : undefined;
      }, end);
    },
    policyChanged(policy) {
      const error = new CulvertError('revoked', 'The key in use was removed.');
      for (const channel of [...deps.router.channels()]) {
        if (!principalStillHolds(channel.principal, { policy })) channel.close(error);
      }
      const lost = (entry: StreamEntry) => !holds(entry.service, { policy }) || !holds(entry.device, { policy });
      deps.streams.endMatching((entry) => (lost(entry) ? error : undefined), end);
    },
  };
}

function holds(principal: Principal | undefined, change: CredentialChange): boolean {
  return principal === undefined || principalStillHolds(principal, change);
}

function deviceError(record: DeviceRecord | undefined): CulvertError {
  if (record === undefined) return new CulvertError('revoked', 'The device was deleted.');
  if (record.status === 'disabled') return new CulvertError('revoked', 'The device was disabled.');
  return new CulvertError('revoked', 'The key in use was removed.');
}
