import type { DeviceStatus, Identity, Permission } from '@culvert/protocol';

/** How an identity authenticates, with the credentials registered for it. */
export type Authentication =
  /** Both keys are base64. */
  | { readonly type: 'sas'; readonly primaryKey: string; readonly secondaryKey: string }
  /** SHA-1 or SHA-256 thumbprints of a certificate, in upper-case hexadecimal; an empty string if not registered. */
  | { readonly type: 'selfSigned'; readonly primaryThumbprint: string; readonly secondaryThumbprint: string }
  | { readonly type: 'certificateAuthority' }
  /** The identity cannot authenticate, so it never connects. */
  | { readonly type: 'none' };

/** A device or module as the registry stores it. It does not contain whether the device is online. */
export interface IdentityRecord extends Identity {
  readonly generationId: string;
  /** An opaque version of the record; every change gives it a new value. */
  readonly etag: string;
  /** Always `enabled` for a module, because only a device can be disabled. */
  readonly status: DeviceStatus;
  readonly statusReason: string | null;
  /** Milliseconds since the epoch, like `createdAt` and `updatedAt`. */
  readonly statusUpdatedAt: number;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly authentication: Authentication;
  /** For a module: the program that created it, as free text. */
  readonly managedBy: string | null;
  /** For a device: whether it is an Azure IoT Edge device. Stored for the Edge tools; the hub does not use it. */
  readonly iotEdge: boolean;
  /** Public keys of its SSH server, as `sshHostKeysIn` returns them; empty if none are registered. */
  readonly sshHostKeys: readonly string[];
}

/** The record that a write expects: none, any, or exactly the version with this etag. */
export type Expectation =
  | { readonly kind: 'absent' }
  | { readonly kind: 'present' }
  | { readonly kind: 'etag'; readonly etag: string };

/** The result of a lookup for a client that is not authenticated yet. */
export interface Lookup<T> {
  readonly record: T | undefined;
  /**
   * Must be awaited before the client is sent a refusal. Makes the store do the same work whether or not the record exists, so that the response time
   * does not reveal it.
   */
  refused(): Promise<void>;
}

/** The registered devices and modules. When a write's promise resolves, the change is on disk. */
export interface Registry {
  get(identity: Identity): Promise<IdentityRecord | undefined>;
  /** Like `get`, on behalf of a client that is not authenticated yet. */
  lookup(identity: Identity): Promise<Lookup<IdentityRecord>>;
  /** Whether the identity's record is in memory, as after a recent lookup. False does not mean that the identity does not exist. */
  remembers(identity: Identity): boolean;
  /**
   * Writes and returns the record with its new etag.
   * @throws CulvertError `device_exists`, `module_exists` (`expected` is `absent`, but there is a record), `device_not_found`, `module_not_found`, `precondition_failed`,
   * `limit_reached` (too many modules of a device)
   */
  put(record: Omit<IdentityRecord, 'etag'>, expected: Expectation): Promise<IdentityRecord>;
  /**
   * Deletes the identity; with a device, also its modules.
   * @throws CulvertError `device_not_found`, `module_not_found`, `precondition_failed`
   */
  delete(identity: Identity, expected: Expectation): Promise<void>;
  /** Returns up to `limit` devices whose ids follow `after`, in the order of their ids (by code unit). */
  list(page: { readonly after?: string; readonly limit: number }): Promise<IdentityRecord[]>;
  /**
   * Returns all modules of a device, in the order of their ids.
   * @throws CulvertError `device_not_found`
   */
  modules(deviceId: string): Promise<IdentityRecord[]>;
  /** Returns the number of devices, and how many of them are disabled. */
  count(): Promise<{ total: number; disabled: number }>;
}

/** A registered certificate authority: a device may authenticate with a certificate that it issued. */
export interface AuthorityRecord {
  readonly name: string;
  /** One certificate, in PEM. */
  readonly certificate: string;
  /** SHA-256 of the certificate, in upper-case hexadecimal. */
  readonly thumbprint: string;
}

/** The registered certificate authorities. Device certificates of other authorities are never trusted. */
export interface AuthorityStore {
  get(name: string): Promise<AuthorityRecord | undefined>;
  /** Returns all authorities, ordered by name. */
  list(): Promise<AuthorityRecord[]>;
  /** Adds an authority, or replaces the one with that name. @throws CulvertError `limit_reached` */
  put(record: AuthorityRecord): Promise<void>;
  /** @throws CulvertError `authority_not_found` */
  delete(name: string): Promise<void>;
}

/** A shared access policy with its two keys, in base64. */
export interface PolicyRecord {
  readonly name: string;
  readonly permissions: readonly Permission[];
  readonly primaryKey: string;
  readonly secondaryKey: string;
}

/** The shared access policies. Their names are fixed; their keys can be rotated. */
export interface PolicyStore {
  get(name: string): Promise<PolicyRecord | undefined>;
  /** Like `get`, on behalf of a client that is not authenticated yet. */
  lookup(name: string): Promise<Lookup<PolicyRecord>>;
  list(): Promise<PolicyRecord[]>;
  /** Creates a new primary key. The old primary key becomes the secondary; tokens signed with the old secondary key become invalid. */
  rotate(name: string): Promise<PolicyRecord>;
}

/**
 * Called after each change is on disk. `record` is undefined after a delete. When a device is deleted, there is one call for the device and none for
 * its modules.
 */
export interface RegistryListener {
  identityChanged(identity: Identity, record: IdentityRecord | undefined): void;
  policyChanged(record: PolicyRecord): void;
  /** An authority was added, replaced or removed; `authorities` is the complete new list. */
  authoritiesChanged(authorities: readonly AuthorityRecord[]): void;
}

/** The bytes that the streams of a device and its modules carried on one day. */
export interface DeviceUsage {
  readonly deviceId: string;
  readonly bytes: number;
}

/** Stores the bytes that each device's streams carried today. Days are in UTC, `YYYY-MM-DD`. */
export interface UsageStore {
  load(day: string): Promise<DeviceUsage[]>;
  /** Replaces the totals of these devices and deletes the totals of all other days. */
  save(day: string, totals: readonly DeviceUsage[]): Promise<void>;
}
