import type { DeviceStatus, Identity, Permission } from '@culvert/protocol';

/** How an identity proves who it is. */
export type Authentication =
  /** Base64. */
  | { readonly type: 'sas'; readonly primaryKey: string; readonly secondaryKey: string }
  /** SHA-1 or SHA-256 of a certificate, upper-case hexadecimal; empty where there is none. */
  | { readonly type: 'selfSigned'; readonly primaryThumbprint: string; readonly secondaryThumbprint: string }
  | { readonly type: 'certificateAuthority' }
  /** It never connects. */
  | { readonly type: 'none' };

/** A device, or a module of one, as the registry stores it. Says nothing of who is online. */
export interface IdentityRecord extends Identity {
  readonly generationId: string;
  /** Opaque; another after every change. */
  readonly etag: string;
  /** A module's is always `enabled`: it is its device that can be disabled. */
  readonly status: DeviceStatus;
  readonly statusReason: string | null;
  /** Milliseconds since the epoch, as the two below. */
  readonly statusUpdatedAt: number;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly authentication: Authentication;
  /** Of a module: free text, which program made it. */
  readonly managedBy: string | null;
  /** Of a device: whether it is an Azure IoT Edge device; stored for its tools, not used here. */
  readonly iotEdge: boolean;
  /** Public keys of its SSH server, as `sshHostKeysIn` gives them; empty where none are registered. */
  readonly sshHostKeys: readonly string[];
}

/** What a write expects: no record, any existing record, or exactly this version. */
export type Expectation =
  | { readonly kind: 'absent' }
  | { readonly kind: 'present' }
  | { readonly kind: 'etag'; readonly etag: string };

/** What was found for a client that is not authenticated yet. */
export interface Lookup<T> {
  readonly record: T | undefined;
  /**
   * Await this before sending a refusal to the client: the store does the same work whether or not the record exists, so that
   * the response time does not reveal it.
   */
  refused(): Promise<void>;
}

/** The registered identities. When a write's promise resolves, the change is on disk. */
export interface Registry {
  get(identity: Identity): Promise<IdentityRecord | undefined>;
  /** As `get`, on behalf of a client that is not authenticated yet. */
  lookup(identity: Identity): Promise<Lookup<IdentityRecord>>;
  /** Whether the identity is known to exist without asking the store, as it is of one that was just looked up. */
  remembers(identity: Identity): boolean;
  /**
   * Writes and returns the record with its new etag.
   * @throws CulvertError `device_exists`, `module_exists` (expected absent), `device_not_found`, `module_not_found`, `precondition_failed`,
   * `limit_reached` (modules of a device)
   */
  put(record: Omit<IdentityRecord, 'etag'>, expected: Expectation): Promise<IdentityRecord>;
  /**
   * A device's modules go with it.
   * @throws CulvertError `device_not_found`, `module_not_found`, `precondition_failed`
   */
  delete(identity: Identity, expected: Expectation): Promise<void>;
  /** Up to `limit` devices in the order of their ids (by code unit), those after `after`. */
  list(page: { readonly after?: string; readonly limit: number }): Promise<IdentityRecord[]>;
  /**
   * All modules of a device, in the order of their ids.
   * @throws CulvertError `device_not_found`
   */
  modules(deviceId: string): Promise<IdentityRecord[]>;
  /** How many devices there are, and how many of them are disabled. */
  count(): Promise<{ total: number; disabled: number }>;
}

/** A certificate authority whose devices may connect. */
export interface AuthorityRecord {
  readonly name: string;
  /** PEM, one certificate. */
  readonly certificate: string;
  /** SHA-256 of the certificate, upper-case hexadecimal. */
  readonly thumbprint: string;
}

/** The registered certificate authorities: no other one is ever trusted for a device. */
export interface AuthorityStore {
  get(name: string): Promise<AuthorityRecord | undefined>;
  /** All authorities, by name. */
  list(): Promise<AuthorityRecord[]>;
  /** Adds an authority, or replaces the one with that name. @throws CulvertError `limit_reached` */
  put(record: AuthorityRecord): Promise<void>;
  /** @throws CulvertError `authority_not_found` */
  delete(name: string): Promise<void>;
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
  /** As `get`, on behalf of a client that is not authenticated yet. */
  lookup(name: string): Promise<Lookup<PolicyRecord>>;
  list(): Promise<PolicyRecord[]>;
  /** Makes a new primary key; the old primary becomes the secondary, and tokens signed with the old secondary are no longer valid. */
  rotate(name: string): Promise<PolicyRecord>;
}

/** Called after a change is on disk; `record` is undefined after a delete. Deleting a device is one call, without calls for its modules. */
export interface RegistryListener {
  identityChanged(identity: Identity, record: IdentityRecord | undefined): void;
  policyChanged(record: PolicyRecord): void;
  /** An authority was added, replaced or removed; `authorities` is the complete new list. */
  authoritiesChanged(authorities: readonly AuthorityRecord[]): void;
}

/** Bytes a device and its modules have carried on one day. */
export interface DeviceUsage {
  readonly deviceId: string;
  readonly bytes: number;
}

/** Persists the bytes that devices have carried today. Days are UTC, `YYYY-MM-DD`. */
export interface UsageStore {
  load(day: string): Promise<DeviceUsage[]>;
  /** Replaces the totals of these devices and deletes those of other days. */
  save(day: string, totals: readonly DeviceUsage[]): Promise<void>;
}
