import { randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { CulvertError } from '@culvert/protocol';
import { assertExpected } from './expectation.ts';
import { IDENTITY_COLUMNS, identityFields, identityValues, type Row } from './identity-row.ts';
import type { Expectation, IdentityRecord } from './registry.ts';

/** Maximum modules of one device, as in Azure. All modules of a device are listed in one response. */
export const MAX_MODULES_PER_DEVICE = 50;

const COLUMNS = ['device_id', 'module_id', 'managed_by', ...IDENTITY_COLUMNS];

const CODES = { missing: 'module_not_found', exists: 'module_exists' } as const;

/** The database table of modules. A trigger deletes a device's modules with the device. Each write is one statement, so it is atomic. */
export class ModuleTable {
  readonly #device;
  readonly #get;
  readonly #put;
  readonly #delete;
  readonly #list;

  constructor(database: DatabaseSync) {
    this.#device = database.prepare('SELECT 1 FROM device WHERE device_id = ?');
    this.#get = database.prepare('SELECT * FROM module WHERE device_id = ? AND module_id = ?');
    this.#put = database.prepare(
      `INSERT INTO module (${COLUMNS.join(', ')}) VALUES (${COLUMNS.map((name) => `$${name}`).join(', ')})
       ON CONFLICT (device_id, module_id) DO UPDATE SET ${COLUMNS.slice(2)
         .map((name) => `${name} = excluded.${name}`)
         .join(', ')}`,
    );
    this.#delete = database.prepare('DELETE FROM module WHERE device_id = ? AND module_id = ?');
    this.#list = database.prepare('SELECT * FROM module WHERE device_id = ? ORDER BY module_id');
  }

  get(deviceId: string, moduleId: string): IdentityRecord | undefined {
    const row = this.#get.get(deviceId, moduleId);
    return row === undefined ? undefined : record(row);
  }

  put(moduleId: string, input: Omit<IdentityRecord, 'etag'>, expected: Expectation): IdentityRecord {
    const { deviceId } = input;
    const existing = this.get(deviceId, moduleId);
    if (existing === undefined) this.#assertDevice(deviceId);
    assertExpected(existing, expected, CODES);
    if (existing === undefined && this.#list.all(deviceId).length >= MAX_MODULES_PER_DEVICE) {
      throw new CulvertError('limit_reached', `A device has at most ${MAX_MODULES_PER_DEVICE} modules.`);
    }
    const stored: IdentityRecord = { ...input, moduleId, etag: randomBytes(9).toString('base64url') };
    this.#put.run({
      device_id: deviceId,
      module_id: moduleId,
      managed_by: stored.managedBy,
      ...identityValues(stored),
    });
    return stored;
  }

  delete(deviceId: string, moduleId: string, expected: Expectation): void {
    const existing = this.get(deviceId, moduleId);
    if (existing === undefined) this.#assertDevice(deviceId);
    assertExpected(existing, expected, CODES);
    this.#delete.run(deviceId, moduleId);
  }

  list(deviceId: string): IdentityRecord[] {
    this.#assertDevice(deviceId);
    return this.#list.all(deviceId).map(record);
  }

  #assertDevice(deviceId: string): void {
    if (this.#device.get(deviceId) === undefined) throw new CulvertError('device_not_found');
  }
}

function record(row: Row): IdentityRecord {
  const managedBy = row['managed_by'];
  return {
    deviceId: String(row['device_id']),
    moduleId: String(row['module_id']),
    status: 'enabled',
    statusReason: null,
    statusUpdatedAt: Number(row['created_at']),
    iotEdge: false,
    managedBy: typeof managedBy === 'string' ? managedBy : null,
    ...identityFields(row),
  };
}
