import { CulvertError } from '@culvert/protocol';
import type { ControlChannel } from '../control/control-channel.ts';
import type { EventSink } from '../observe/events.ts';
import type { IdentityRecord, Registry } from '../registry/registry.ts';

/**
 * Registers the SSH host keys that an attaching device names, if it has none registered. They are never replaced here: who steals a device's key
 * could otherwise put its own in their place, and a device could write the registry and the audit record full. An administrator forgets them.
 * @param record of the channel's identity, as it is stored
 */
export async function registerHostKeys(
  channel: Pick<ControlChannel, 'principal' | 'sshHostKeys'>,
  record: IdentityRecord | undefined,
  registry: Pick<Registry, 'put'>,
  onEvent: EventSink,
): Promise<void> {
  const { principal, sshHostKeys = [] } = channel;
  // A policy's key speaks for every device.
  if (principal.identity === undefined || record === undefined) return;
  if (sshHostKeys.length === 0 || record.sshHostKeys.length > 0) return;
  const { etag, ...rest } = record;
  try {
    await registry.put({ ...rest, sshHostKeys }, { kind: 'etag', etag });
  } catch (error) {
    // Somebody changed it meanwhile: the next time it attaches is soon enough.
    if (error instanceof CulvertError && error.code === 'precondition_failed') return;
    throw error;
  }
  const { deviceId, moduleId } = record;
  const module = moduleId === undefined ? {} : { moduleId };
  onEvent({ type: 'registry-changed', change: 'updated', deviceId, ...module, principal: principal.name });
}

/** Whether an attached device names other host keys than those registered. */
export function namesOtherHostKeys(
  registered: readonly string[],
  channel: Pick<ControlChannel, 'sshHostKeys'> | undefined,
): boolean {
  const named = channel?.sshHostKeys ?? [];
  return named.length > 0 && registered.length > 0 && named.join('\n') !== registered.join('\n');
}
