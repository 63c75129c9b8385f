import { CulvertError } from '@culvert/protocol';
import type { ControlChannel } from '../control/control-channel.ts';
import type { EventSink } from '../observe/events.ts';
import type { IdentityRecord, Registry } from '../registry/registry.ts';

/**
 * Registers the SSH host keys that an attaching device reports, if none are registered for it. Registered keys are never replaced here: an attacker
 * with a stolen device key could otherwise register host keys of their own, and a device could fill the registry and the audit log with changes.
 * An administrator can remove the registered keys.
 * @param record the stored record of the channel's identity
 */
export async function registerHostKeys(
  channel: Pick<ControlChannel, 'principal' | 'sshHostKeys'>,
  record: IdentityRecord | undefined,
  registry: Pick<Registry, 'put'>,
  onEvent: EventSink,
): Promise<void> {
  const { principal, sshHostKeys = [] } = channel;
  // The principal is a policy, whose key is valid for every device.
  if (principal.identity === undefined || record === undefined) return;
  if (sshHostKeys.length === 0 || record.sshHostKeys.length > 0) return;
  const { etag, ...rest } = record;
  try {
    await registry.put({ ...rest, sshHostKeys }, { kind: 'etag', etag });
  } catch (error) {
    // The record was changed meanwhile: the keys are registered when the device attaches again.
    if (error instanceof CulvertError && error.code === 'precondition_failed') return;
    throw error;
  }
  const { deviceId, moduleId } = record;
  const module = moduleId === undefined ? {} : { moduleId };
  onEvent({ type: 'registry-changed', change: 'updated', deviceId, ...module, principal: principal.name });
}

/** Whether an attached device reports host keys that differ from the registered ones. False when it reports none or none are registered. */
export function namesOtherHostKeys(
  registered: readonly string[],
  channel: Pick<ControlChannel, 'sshHostKeys'> | undefined,
): boolean {
  const reported = channel?.sshHostKeys ?? [];
  return reported.length > 0 && registered.length > 0 && reported.join('\n') !== registered.join('\n');
}
