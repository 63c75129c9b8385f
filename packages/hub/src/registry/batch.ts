import type { DatabaseSync } from 'node:sqlite';
import { AuthorityTable } from './authority-table.ts';
import { DeviceTable } from './device-table.ts';
import { ModuleTable } from './module-table.ts';
import { PolicyTable } from './policy-table.ts';
import { runningFailure } from './sqlite-failure.ts';
import type { StoreCall, StoreCallName, StoreCalls, StoreResult } from './store-calls.ts';
import { UsageTable } from './usage-table.ts';

type Handlers = { readonly [Name in StoreCallName]: (input: StoreCalls[Name]['input']) => StoreCalls[Name]['output'] };

const WRITES: ReadonlySet<StoreCallName> = new Set([
  'identity.put',
  'identity.delete',
  'authority.put',
  'authority.delete',
  'policy.rotate',
  'usage.save',
]);

/** Runs batches of calls on the database. All writes of a batch share one commit, so that they cost one disk sync (group commit). */
export class BatchRunner {
  readonly #database: DatabaseSync;
  readonly #handlers: Handlers;

  constructor(database: DatabaseSync) {
    this.#database = database;
    const devices = new DeviceTable(database);
    const modules = new ModuleTable(database);
    const authorities = new AuthorityTable(database);
    const policies = new PolicyTable(database);
    const usage = new UsageTable(database);
    this.#handlers = {
      'identity.get': ({ deviceId, moduleId }) =>
        moduleId === undefined ? devices.get(deviceId) : modules.get(deviceId, moduleId),
      'identity.put': ({ record, expected }) =>
        record.moduleId === undefined ? devices.put(record, expected) : modules.put(record.moduleId, record, expected),
      'identity.delete': ({ identity: { deviceId, moduleId }, expected }) => {
        if (moduleId === undefined) devices.delete(deviceId, expected);
        else modules.delete(deviceId, moduleId, expected);
        return undefined;
      },
      'device.list': ({ after, limit }) => devices.list(after, limit),
      'device.count': () => devices.count(),
      'module.list': (deviceId) => modules.list(deviceId),
      'authority.get': (name) => authorities.get(name),
      'authority.list': () => authorities.list(),
      'authority.put': (record) => authorities.put(record),
      'authority.delete': (name) => authorities.delete(name),
      'usage.load': (day) => usage.load(day),
      'usage.save': ({ day, totals }) => {
        usage.save(day, totals);
        return undefined;
      },
      'policy.get': (name) => policies.get(name),
      'policy.list': () => policies.list(),
      'policy.rotate': ({ name, primaryKey }) => policies.rotate(name, primaryKey),
    };
  }

  /**
   * Runs the calls in order, all writes in one transaction, and returns after its COMMIT. A call that fails does not affect the others. If the
   * commit fails, every call since the transaction began fails; reads too, because they saw uncommitted data.
   */
  run(batch: readonly StoreCall[]): StoreResult[] {
    const results: StoreResult[] = [];
    /** The index of the first call in the transaction; undefined if none is open. */
    let start: number | undefined;
    let beginFailure: StoreResult | undefined;
    const failAll = (failure: StoreResult): void => {
      for (let index = start ?? results.length; index < results.length; index++) results[index] = failure;
      start = undefined;
    };
    for (const call of batch) {
      if (start === undefined && WRITES.has(call.name)) {
        beginFailure ??= this.#begin();
        if (beginFailure === undefined) start = results.length;
      }
      const blocked = beginFailure !== undefined && WRITES.has(call.name);
      results.push(blocked ? (beginFailure as StoreResult) : this.#perform(call));
      // After some failures (disk full, I/O error), SQLite rolls back the whole transaction; then there is nothing to commit.
      if (start !== undefined && !this.#database.isTransaction) failAll(results[results.length - 1] as StoreResult);
    }
    if (start !== undefined) {
      const failure = this.#commit();
      if (failure !== undefined) failAll(failure);
    }
    return results;
  }

  #perform<K extends StoreCallName>(call: StoreCall<K>): StoreResult {
    try {
      return { ok: true, value: this.#handlers[call.name](call.input) };
    } catch (error) {
      return failed(error);
    }
  }

  #begin(): StoreResult | undefined {
    try {
      this.#database.exec('BEGIN IMMEDIATE');
      return undefined;
    } catch (error) {
      return failed(error);
    }
  }

  #commit(): StoreResult | undefined {
    try {
      this.#database.exec('COMMIT');
      return undefined;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      return failed(error);
    }
  }
}

function failed(error: unknown): StoreResult {
  const { code, message } = runningFailure(error);
  return { ok: false, code, message };
}
