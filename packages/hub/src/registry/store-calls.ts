import type { ErrorCode, Identity } from '@culvert/protocol';
import type { AuthorityRecord, DeviceUsage, Expectation, IdentityRecord } from './registry.ts';

/** The stored part of a policy: its two keys, in base64. The permissions of a policy are constants in the code. */
export interface PolicyKeys {
  readonly name: string;
  readonly primaryKey: string;
  readonly secondaryKey: string;
}

/** The inputs and outputs of the calls to the store's worker thread. All are plain data, because they are sent between threads. */
export interface StoreCalls {
  'identity.get': { input: Identity; output: IdentityRecord | undefined };
  'identity.put': { input: { record: Omit<IdentityRecord, 'etag'>; expected: Expectation }; output: IdentityRecord };
  'identity.delete': { input: { identity: Identity; expected: Expectation }; output: undefined };
  'device.list': { input: { after: string; limit: number }; output: IdentityRecord[] };
  'device.count': { input: undefined; output: { total: number; disabled: number } };
  'module.list': { input: string; output: IdentityRecord[] };
  'authority.get': { input: string; output: AuthorityRecord | undefined };
  'authority.list': { input: undefined; output: AuthorityRecord[] };
  /** `authority.put` and `authority.delete` return all authorities after the change. */
  'authority.put': { input: AuthorityRecord; output: AuthorityRecord[] };
  'authority.delete': { input: string; output: AuthorityRecord[] };
  /** Returns the bytes that each device carried on a day (UTC, `YYYY-MM-DD`). */
  'usage.load': { input: string; output: DeviceUsage[] };
  /** Replaces the given totals and deletes the totals of all other days. */
  'usage.save': { input: { day: string; totals: readonly DeviceUsage[] }; output: undefined };
  'policy.get': { input: string; output: PolicyKeys | undefined };
  'policy.list': { input: undefined; output: PolicyKeys[] };
  'policy.rotate': { input: { name: string; primaryKey: string }; output: PolicyKeys };
}

export type StoreCallName = keyof StoreCalls;

/** One call; a union over all call names. */
export type StoreCall<K extends StoreCallName = StoreCallName> = {
  [Name in K]: { readonly name: Name; readonly input: StoreCalls[Name]['input'] };
}[K];

/** The result of one call. */
export type StoreResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

/** The data that the thread is started with. */
export interface StoreStart {
  readonly directory: string;
  /** Keys to insert for each policy that the database does not contain yet. */
  readonly policies: readonly PolicyKeys[];
}

/** A message to the thread: a batch of calls, answered with one array of results in the same order, or a request to stop. */
export type ToStore = { readonly batch: readonly StoreCall[] } | { readonly close: true };

/** A message from the thread: at first whether it could open the database, then the results of each batch. */
export type FromStore = { readonly opened: StoreResult } | { readonly results: readonly StoreResult[] };
