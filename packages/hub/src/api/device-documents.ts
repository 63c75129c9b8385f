import { CulvertError, type DeviceIdentity, NEVER } from '@culvert/protocol';
import { z } from 'zod';
import type { ControlChannel } from '../control/control-channel.ts';
import type { DeviceRecord } from '../registry/registry.ts';

// Keys the preview takes: base64 of 16 to 64 bytes. Empty means "make one".
const key = z
  .string()
  .regex(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/, 'must be base64')
  .refine((text) => text === '' || (bytesOf(text) >= 16 && bytesOf(text) <= 64), 'must be 16 to 64 bytes long');

function bytesOf(text: string): number {
  return Buffer.from(text, 'base64').length;
}

/** A device as callers send it. Fields they read and send back (etag, times, state) are tolerated and ignored. */
export const deviceInput = z.looseObject({
  deviceId: z.string().optional(),
  etag: z.string().nullish(),
  status: z.enum(['enabled', 'disabled']).nullish(),
  statusReason: z.string().max(128).nullish(),
  authentication: z
    .looseObject({
      type: z.string().nullish(),
      symmetricKey: z.looseObject({ primaryKey: key.nullish(), secondaryKey: key.nullish() }).nullish(),
    })
    .nullish(),
});
export type DeviceInput = z.infer<typeof deviceInput>;

/** What a new record is made of; keys that are not given are made. */
export function newRecord(
  deviceId: string,
  input: DeviceInput,
  make: { now: number; generationId: string; newKey: () => string },
): Omit<DeviceRecord, 'etag'> {
  const keys = keysOf(input);
  return {
    deviceId,
    generationId: make.generationId,
    status: input.status ?? 'enabled',
    statusReason: input.statusReason ?? null,
    statusUpdatedAt: make.now,
    createdAt: make.now,
    updatedAt: make.now,
    primaryKey: keys.primary || make.newKey(),
    secondaryKey: keys.secondary || make.newKey(),
  };
}

/** A record with a caller's changes; what is not given stays. */
export function changedRecord(record: DeviceRecord, input: DeviceInput, now: number): Omit<DeviceRecord, 'etag'> {
  const keys = keysOf(input);
  const status = input.status ?? record.status;
  const { etag: _, ...rest } = record;
  return {
    ...rest,
    status,
    statusReason: input.statusReason === undefined ? record.statusReason : input.statusReason,
    statusUpdatedAt: status === record.status ? record.statusUpdatedAt : now,
    updatedAt: now,
    primaryKey: keys.primary || record.primaryKey,
    secondaryKey: keys.secondary || record.secondaryKey,
  };
}

function keysOf(input: DeviceInput): { primary: string; secondary: string } {
  const type = input.authentication?.type ?? 'sas';
  if (type !== 'sas')
    throw new CulvertError(
      'argument_invalid',
      `Authentication of type '${type.slice(0, 32)}' is not supported; use 'sas'.`,
    );
  const given = input.authentication?.symmetricKey;
  return { primary: given?.primaryKey ?? '', secondary: given?.secondaryKey ?? '' };
}

/** The device as the preview shows it. Whether it is connected is read from its live channel, never from the registry. */
export function deviceDocument(record: DeviceRecord, channel: ControlChannel | undefined): DeviceIdentity {
  const connectedAt = channel === undefined ? NEVER : new Date(channel.connectedAt).toISOString();
  return {
    deviceId: record.deviceId,
    generationId: record.generationId,
    etag: record.etag,
    status: record.status,
    statusReason: record.statusReason,
    statusUpdatedTime: new Date(record.statusUpdatedAt).toISOString(),
    connectionState: channel === undefined ? 'Disconnected' : 'Connected',
    connectionStateUpdatedTime: connectedAt,
    lastActivityTime: connectedAt,
    cloudToDeviceMessageCount: 0,
    authentication: {
      type: 'sas',
      symmetricKey: { primaryKey: record.primaryKey, secondaryKey: record.secondaryKey },
    },
    capabilities: { iotEdge: false },
  };
}
