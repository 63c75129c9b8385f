import type { ModuleIdentity } from '@culvert/protocol';
import { z } from 'zod';
import type { ControlChannel } from '../../control/control-channel.ts';
import type { IdentityRecord } from '../../registry/registry.ts';
import type { Creation, NewRecord } from '../routes/identity-writes.ts';
import { authenticationFrom, authenticationInput, authenticationView } from './authentication.ts';
import { connectionFields } from './device.ts';
import { sshHostKeysFrom, sshHostKeysInput, sshHostKeysView } from './host-keys.ts';

/** A module in a request. Other fields, such as read-only ones that clients send back, are ignored. */
export const moduleInput = z.looseObject({
  deviceId: z.string().nullish(),
  moduleId: z.string().nullish(),
  etag: z.string().nullish(),
  managedBy: z.string().max(128).nullish(),
  authentication: authenticationInput,
  sshHostKeys: sshHostKeysInput,
});
export type ModuleInput = z.infer<typeof moduleInput>;

/** Builds a new record; omitted keys are generated. */
export function newModule(
  identity: { deviceId: string; moduleId: string },
  input: ModuleInput,
  { now, generationId }: Creation,
): NewRecord {
  return {
    ...identity,
    generationId,
    status: 'enabled',
    statusReason: null,
    statusUpdatedAt: now,
    createdAt: now,
    updatedAt: now,
    authentication: authenticationFrom(input.authentication),
    managedBy: input.managedBy ?? null,
    iotEdge: false,
    sshHostKeys: sshHostKeysFrom(input.sshHostKeys, []),
  };
}

/** Applies a caller's changes to a record; omitted fields are kept. */
export function changedModule(record: IdentityRecord, input: ModuleInput, now: number): NewRecord {
  const { etag: _, ...rest } = record;
  return {
    ...rest,
    updatedAt: now,
    authentication: authenticationFrom(input.authentication, record.authentication),
    sshHostKeys: sshHostKeysFrom(input.sshHostKeys, record.sshHostKeys),
    managedBy: input.managedBy === undefined ? record.managedBy : input.managedBy,
  };
}

/** The module in Azure's format. */
export function moduleDocument(
  record: IdentityRecord,
  moduleId: string,
  channel: ControlChannel | undefined,
): ModuleIdentity {
  return {
    deviceId: record.deviceId,
    moduleId,
    managedBy: record.managedBy,
    generationId: record.generationId,
    etag: record.etag,
    ...connectionFields(channel),
    cloudToDeviceMessageCount: 0,
    authentication: authenticationView(record.authentication),
    ...sshHostKeysView(record),
  };
}
