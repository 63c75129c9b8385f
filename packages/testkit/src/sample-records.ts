import type { IdentityRecord } from '@culvert/hub';

/** A record before it is stored, when it has no etag yet. */
export type NewRecord = Omit<IdentityRecord, 'etag'>;

/** Creates a device's record. Records of two devices differ in all fields except times and keys. */
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

/** Creates a module's record. A module has no status of its own, so the time of its status is its creation time. */
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
