import { type DeviceIdentity, NEVER } from '@culvert/protocol';
import { z } from 'zod';
import type { ControlChannel } from '../../control/control-channel.ts';
import type { IdentityRecord } from '../../registry/registry.ts';
import type { Creation, NewRecord } from '../routes/identity-writes.ts';
import { authenticationFrom, authenticationInput, authenticationView } from './authentication.ts';
import { sshHostKeysFrom, sshHostKeysInput, sshHostKeysView } from './host-keys.ts';
import { unansweredView } from './presence.ts';

/** A device in a request. Read-only fields that clients send back (etag, times, state) are ignored. */
export const deviceInput = z.looseObject({
  deviceId: z.string().nullish(),
  etag: z.string().nullish(),
  status: z.enum(['enabled', 'disabled']).nullish(),
  statusReason: z.string().max(128).nullish(),
  authentication: authenticationInput,
  sshHostKeys: sshHostKeysInput,
  capabilities: z.looseObject({ iotEdge: z.boolean().nullish() }).nullish(),
});
export type DeviceInput = z.infer<typeof deviceInput>;

/** Builds a new record; omitted keys are generated. */
export function newDevice(deviceId: string, input: DeviceInput, { now, generationId }: Creation): NewRecord {
  return {
    deviceId,
    generationId,
    status: input.status ?? 'enabled',
    statusReason: input.statusReason ?? null,
    statusUpdatedAt: now,
    createdAt: now,
    updatedAt: now,
    authentication: authenticationFrom(input.authentication),
    managedBy: null,
    iotEdge: input.capabilities?.iotEdge ?? false,
    sshHostKeys: sshHostKeysFrom(input.sshHostKeys, []),
  };
}

/** Applies a caller's changes to a record; omitted fields are kept. */
export function changedDevice(record: IdentityRecord, input: DeviceInput, now: number): NewRecord {
  const status = input.status ?? record.status;
  const { etag: _, ...rest } = record;
  return {
    ...rest,
    status,
    statusReason: input.statusReason === undefined ? record.statusReason : input.statusReason,
    statusUpdatedAt: status === record.status ? record.statusUpdatedAt : now,
    updatedAt: now,
    authentication: authenticationFrom(input.authentication, record.authentication),
    sshHostKeys: sshHostKeysFrom(input.sshHostKeys, record.sshHostKeys),
    iotEdge: input.capabilities?.iotEdge ?? record.iotEdge,
  };
}

/** The device in Azure's format. The connection state comes from its live channel, never from the registry. */
export function deviceDocument(record: IdentityRecord, channel: ControlChannel | undefined): DeviceIdentity {
  return {
    deviceId: record.deviceId,
    generationId: record.generationId,
    etag: record.etag,
    ...connectionFields(channel),
    status: record.status,
    statusReason: record.statusReason,
    statusUpdatedTime: new Date(record.statusUpdatedAt).toISOString(),
    cloudToDeviceMessageCount: 0,
    authentication: authenticationView(record.authentication),
    ...sshHostKeysView(record),
    capabilities: { iotEdge: record.iotEdge },
  };
}

/** The connection state, from the live channel or its absence. */
export function connectionFields(
  channel: ControlChannel | undefined,
): Pick<DeviceIdentity, 'connectionState' | 'connectionStateUpdatedTime' | 'lastActivityTime' | 'unansweredOffers'> {
  const unansweredOffers = unansweredView(channel);
  const connectedAt = channel === undefined ? NEVER : new Date(channel.connectedAt).toISOString();
  return {
    connectionState: channel === undefined ? 'Disconnected' : 'Connected',
    connectionStateUpdatedTime: connectedAt,
    lastActivityTime: connectedAt,
    ...(unansweredOffers === undefined ? {} : { unansweredOffers }),
  };
}
