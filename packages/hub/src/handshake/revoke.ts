import { CulvertError, type Identity } from '@culvert/protocol';
import type { Principal } from '../auth/principal.ts';
import { type CredentialChange, principalStillHolds } from '../auth/revocation.ts';
import type { ControlChannel } from '../control/control-channel.ts';
import type { Router } from '../control/router.ts';
import type { IdentityRecord, RegistryListener } from '../registry/registry.ts';
import type { EndAtGateway, StreamEntry, StreamTable } from './stream-table.ts';

export interface RevokeDeps {
  readonly router: Router;
  readonly streams: StreamTable;
  readonly endAtGateway: EndAtGateway;
}

/**
 * Ends the channels and streams whose credential a registry change has revoked. Such changes are: a device was disabled, deleted or created again
 * (which revokes its modules too), a key or thumbprint in use was removed, a policy's key was rotated out, or an authority was removed. A stream
 * ends when the credential of either side is revoked.
 */
export function revokeOnChange(deps: RevokeDeps): RegistryListener {
  const endStreams = (error: CulvertError, isOver: (entry: StreamEntry) => boolean) => {
    deps.streams.endMatching((entry) => (isOver(entry) ? error : undefined), deps.endAtGateway);
  };
  const endChannels = (error: CulvertError, isOver: (channel: ControlChannel) => boolean) => {
    for (const channel of [...deps.router.channels()]) if (isOver(channel)) channel.close(error);
  };
  const credentialsChanged = (change: CredentialChange, error: CulvertError) => {
    endChannels(error, ({ principal }) => !principalStillHolds(principal, change));
    endStreams(error, ({ service, device }) => !holds(service, change) || !holds(device, change));
  };
  return {
    identityChanged(changed, record) {
      const error = identityError(changed, record);
      const removed = record === undefined || record.status === 'disabled';
      const isOver = (identity: Identity, principal: Principal | undefined) => {
        if (identity.deviceId !== changed.deviceId) return false;
        if (identity.moduleId === changed.moduleId) return removed || !holds(principal, { identity: record });
        if (changed.moduleId !== undefined) return false;
        // Removing a device ends its modules' channels; changing it ends only those authenticated with the device's key.
        return removed || (isAuthenticatedByDevice(principal) && !holds(principal, { identity: record }));
      };
      for (const channel of deps.router.channelsOf(changed.deviceId))
        if (isOver(channel.identity, channel.principal)) channel.close(error);
      endStreams(error, ({ identity, device }) => isOver(identity, device));
    },
    policyChanged: (policy) =>
      credentialsChanged({ policy }, new CulvertError('revoked', 'The key in use was removed.')),
    authoritiesChanged: (authorities) =>
      credentialsChanged({ authorities }, new CulvertError('revoked', 'The certificate authority was removed.')),
  };
}

function holds(principal: Principal | undefined, change: CredentialChange): boolean {
  return principal === undefined || principalStillHolds(principal, change);
}

/** Whether a module was authenticated with its device's key. */
function isAuthenticatedByDevice(principal: Principal | undefined): boolean {
  return principal?.proof.kind === 'key' && principal.proof.module !== undefined;
}

function identityError({ moduleId }: Identity, record: IdentityRecord | undefined): CulvertError {
  const what = moduleId === undefined ? 'device' : 'module';
  if (record === undefined) return new CulvertError('revoked', `The ${what} was deleted.`);
  if (record.status === 'disabled') return new CulvertError('revoked', `The ${what} was disabled.`);
  return new CulvertError('revoked', 'The key or certificate in use was removed.');
}
