import type { IdentityRecord } from '@culvert/hub';

/** A record before it is stored. */
export type NewRecord = Omit<IdentityRecord, 'etag'>;

/** A device's record that differs from another one's in everything but times and keys. */
export function sampleDevice(deviceId: string, over: Partial<NewRecord> = {}): NewRecord {
  return {
    deviceId,
    generationId: `generation of ${deviceId}`,
    status: 'enabled',
    statusReason: null,
    statusUpdatedAt: 1_700_000_000_000,
    createdAt: 1_700_000_000_001,
    updatedAt: 1_700_000_000_002,
    authentication: {
      type: 'sas',
      primaryKey: Buffer.alloc(32, 1).toString('base64'),
      secondaryKey: Buffer.alloc(32, 2).toString('base64'),
    },
    managedBy: null,
    iotEdge: false,
    sshHostKeys: [],
    ...over,
  };
}

/** The same for a module. A module's status is as old as it is: it has none of its own. */
export function sampleModule(deviceId: string, moduleId: string, over: Partial<NewRecord> = {}): NewRecord {
  const createdAt = 1_700_000_000_003;
  return sampleDevice(deviceId, {
    moduleId,
    generationId: `generation of ${deviceId}/${moduleId}`,
    createdAt,
    statusUpdatedAt: createdAt,
    managedBy: `made by ${moduleId}`,
    ...over,
  });
}
