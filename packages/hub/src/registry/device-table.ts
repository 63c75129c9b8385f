import { randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { assertExpected } from './expectation.ts';
import { IDENTITY_COLUMNS, identityFields, identityValues, type Row } from './identity-row.ts';
import type { Expectation, IdentityRecord } from './registry.ts';

const COLUMNS = ['device_id', 'status', 'status_reason', 'status_updated_at', 'iot_edge', ...IDENTITY_COLUMNS];

const CODES = { missing: 'device_not_found', exists: 'device_exists' } as const;

/** The database table of devices. Each write is one statement, so it is atomic. */
export class DeviceTable {
  readonly #get;
  readonly #put;
  readonly #delete;
  readonly #list;
  readonly #count;

  constructor(database: DatabaseSync) {
    this.#get = database.prepare('SELECT * FROM device WHERE device_id = ?');
    this.#put = database.prepare(
      `INSERT INTO device (${COLUMNS.join(', ')}) VALUES (${COLUMNS.map((name) => `$${name}`).join(', ')})
       ON CONFLICT (device_id) DO UPDATE SET ${COLUMNS.slice(1)
         .map((name) => `${name} = excluded.${name}`)
         .join(', ')}`,
    );
    this.#delete = database.prepare('DELETE FROM device WHERE device_id = ?');
    this.#list = database.prepare('SELECT * FROM device WHERE device_id > ? ORDER BY device_id LIMIT ?');
    this.#count = database.prepare('SELECT total, disabled FROM device_total');
  }

  get(deviceId: string): IdentityRecord | undefined {
    const row = this.#get.get(deviceId);
    return row === undefined ? undefined : record(row);
  }

  put(input: Omit<IdentityRecord, 'etag'>, expected: Expectation): IdentityRecord {
    assertExpected(this.get(input.deviceId), expected, CODES);
    const stored: IdentityRecord = { ...input, etag: randomBytes(9).toString('base64url') };
    this.#put.run({
      device_id: stored.deviceId,
      status: stored.status,
      status_reason: stored.statusReason,
      status_updated_at: stored.statusUpdatedAt,
      iot_edge: stored.iotEdge ? 1 : 0,
      ...identityValues(stored),
    });
    return stored;
  }

  delete(deviceId: string, expected: Expectation): void {
    assertExpected(this.get(deviceId), expected, CODES);
    this.#delete.run(deviceId);
  }

  list(after: string, limit: number): IdentityRecord[] {
    return this.#list.all(after, limit).map(record);
  }

  count(): { total: number; disabled: number } {
    const row = this.#count.get();
    return { total: Number(row?.['total']), disabled: Number(row?.['disabled']) };
  }
}

function record(row: Row): IdentityRecord {
  const reason = row['status_reason'];
  return {
    deviceId: String(row['device_id']),
    status: row['status'] === 'enabled' ? 'enabled' : 'disabled',
    statusReason: typeof reason === 'string' ? reason : null,
    statusUpdatedAt: Number(row['status_updated_at']),
    iotEdge: row['iot_edge'] === 1,
    managedBy: null,
    ...identityFields(row),
  };
}
