import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import { CulvertError } from '@culvert/protocol';
import type { PolicyKeys } from './store-calls.ts';

/** The database table of the shared access policies' keys. */
export class PolicyTable {
  readonly #get;
  readonly #list;
  readonly #rotate;
  readonly #insert;

  constructor(database: DatabaseSync) {
    this.#get = database.prepare('SELECT * FROM policy WHERE name = ?');
    this.#list = database.prepare('SELECT * FROM policy ORDER BY name');
    this.#rotate = database.prepare(
      'UPDATE policy SET secondary_key = primary_key, primary_key = ? WHERE name = ? RETURNING *',
    );
    this.#insert = database.prepare('INSERT INTO policy VALUES (?, ?, ?) ON CONFLICT DO NOTHING');
  }

  get(name: string): PolicyKeys | undefined {
    const row = this.#get.get(name);
    return row === undefined ? undefined : keys(row);
  }

  list(): PolicyKeys[] {
    return this.#list.all().map(keys);
  }

  rotate(name: string, primaryKey: string): PolicyKeys {
    const row = this.#rotate.get(primaryKey, name);
    if (row === undefined) throw new CulvertError('policy_not_found');
    return keys(row);
  }

  /** Inserts a policy's keys unless the policy exists. */
  insertMissing(policy: PolicyKeys): void {
    this.#insert.run(policy.name, policy.primaryKey, policy.secondaryKey);
  }
}

function keys(row: Record<string, SQLOutputValue>): PolicyKeys {
  return {
    name: String(row['name']),
    primaryKey: String(row['primary_key']),
    secondaryKey: String(row['secondary_key']),
  };
}
