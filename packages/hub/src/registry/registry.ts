import type { DeviceStatus, Permission } from '@culvert/protocol';

/** A device as the registry stores it. Says nothing of who is online. */
export interface DeviceRecord {
  readonly deviceId: string;
  readonly generationId: string;
  /** Opaque; another after every change. */
  readonly etag: string;
  readonly status: DeviceStatus;
  readonly statusReason: string | null;
  /** Milliseconds since the epoch, as the two below. */
  readonly statusUpdatedAt: number;
  readonly createdAt: number;
  readonly updatedAt: number;
  /** Base64. */
  readonly primaryKey: string;
  readonly secondaryKey: string;
}

/** What a write expects to find: nothing, anything that exists, or exactly this version. */
export type Expectation =
  | { readonly kind: 'absent' }
  | { readonly kind: 'present' }
  | { readonly kind: 'etag'; readonly etag: string };

/** The devices that exist. A promise that resolves means: on disk. */
export interface Registry {
  get(deviceId: string): Promise<DeviceRecord | undefined>;
  /**
   * Writes and returns the record with its new etag.
   * @throws CulvertError `device_exists` (expected absent), `device_not_found`, `precondition_failed`
   */
  put(record: Omit<DeviceRecord, 'etag'>, expected: Expectation): Promise<DeviceRecord>;
  /** @throws CulvertError `device_not_found`, `precondition_failed` */
  delete(deviceId: string, expected: Expectation): Promise<void>;
  /** Up to `limit` devices in the order of their ids (by code unit), those after `after`. */
  list(page: { readonly after?: string; readonly limit: number }): Promise<DeviceRecord[]>;
  /** How many devices there are, and how many of them are disabled. */
  count(): Promise<{ total: number; disabled: number }>;
}

/** A shared access policy with its two keys (base64). */
export interface PolicyRecord {
  readonly name: string;
  readonly permissions: readonly Permission[];
  readonly primaryKey: string;
  readonly secondaryKey: string;
}

/** The shared access policies: a fixed set of names, keys that rotate. */
export interface PolicyStore {
  get(name: string): Promise<PolicyRecord | undefined>;
  list(): Promise<PolicyRecord[]>;
  /** The primary key becomes the secondary, a new one is made; what was signed with the old secondary is no longer taken. */
  rotate(name: string): Promise<PolicyRecord>;
}

/** Told after a change is on disk; `record` is undefined after a delete. */
export interface RegistryListener {
  deviceChanged(deviceId: string, record: DeviceRecord | undefined): void;
  policyChanged(record: PolicyRecord): void;
}
