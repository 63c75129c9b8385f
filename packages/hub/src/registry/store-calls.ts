import type { ErrorCode, Identity } from '@culvert/protocol';
import type { AuthorityRecord, DeviceUsage, Expectation, IdentityRecord } from './registry.ts';

/** The two keys of a policy as stored; its permissions are constants in the code. Keys are base64. */
export interface PolicyKeys {
  readonly name: string;
  readonly primaryKey: string;
  readonly secondaryKey: string;
}

/** The calls of the store's worker thread and their results. They are sent between threads, so everything is plain data. */
export interface StoreCalls {
  'identity.get': { input: Identity; output: IdentityRecord | undefined };
  'identity.put': { input: { record: Omit<IdentityRecord, 'etag'>; expected: Expectation }; output: IdentityRecord };
  'identity.delete': { input: { identity: Identity; expected: Expectation }; output: undefined };
  'device.list': { input: { after: string; limit: number }; output: IdentityRecord[] };
  'device.count': { input: undefined; output: { total: number; disabled: number } };
  'module.list': { input: string; output: IdentityRecord[] };
  'authority.get': { input: string; output: AuthorityRecord | undefined };
  'authority.list': { input: undefined; output: AuthorityRecord[] };
  /** Both answer with all that there are then. */
  'authority.put': { input: AuthorityRecord; output: AuthorityRecord[] };
  'authority.delete': { input: string; output: AuthorityRecord[] };
  /** Bytes each device has carried on a day (UTC, `YYYY-MM-DD`). */
  'usage.load': { input: string; output: DeviceUsage[] };
  /** Replaces the given totals and deletes those of other days. */
  'usage.save': { input: { day: string; totals: readonly DeviceUsage[] }; output: undefined };
  'policy.get': { input: string; output: PolicyKeys | undefined };
  'policy.list': { input: undefined; output: PolicyKeys[] };
  'policy.rotate': { input: { name: string; primaryKey: string }; output: PolicyKeys };
}

export type StoreCallName = keyof StoreCalls;

/** One call, as a union over all names. */
export type StoreCall<K extends StoreCallName = StoreCallName> = {
  [Name in K]: { readonly name: Name; readonly input: StoreCalls[Name]['input'] };
}[K];

/** How one call ended. */
export type StoreResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

/** What the thread is started with. */
export interface StoreStart {
  readonly directory: string;
  /** Inserted where a policy of that name is missing. */
  readonly policies: readonly PolicyKeys[];
}

/** Messages to the thread: a batch of calls, answered by one array of results in the same order; or a request to stop. */
export type ToStore = { readonly batch: readonly StoreCall[] } | { readonly close: true };

/** Messages from the thread: first whether it could open the database, then one reply per batch. */
export type FromStore = { readonly opened: StoreResult } | { readonly results: readonly StoreResult[] };
