import { randomBytes } from 'node:crypto';
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import { CulvertError } from '@culvert/protocol';
import type { DeviceRecord, Expectation } from './registry.ts';

type Row = Record<string, SQLOutputValue>;

/** The devices in the database. Each write is one statement: it happens whole or not at all. */
export class DeviceTable {
  readonly #get;
  readonly #put;
  readonly #delete;
  readonly #list;
  readonly #count;

  constructor(database: DatabaseSync) {
    this.#get = database.prepare('SELECT * FROM device WHERE device_id = ?');
    this.#put = database.prepare(
      `INSERT INTO device VALUES ($deviceId, $generationId, $etag, $status, $statusReason, $statusUpdatedAt, $createdAt,
         $updatedAt, $primaryKey, $secondaryKey)
       ON CONFLICT (device_id) DO UPDATE SET generation_id = excluded.generation_id, etag = excluded.etag,
         status = excluded.status, status_reason = excluded.status_reason, status_updated_at = excluded.status_updated_at,
         created_at = excluded.created_at, updated_at = excluded.updated_at,
         primary_key = excluded.primary_key, secondary_key = excluded.secondary_key`,
    );
    this.#delete = database.prepare('DELETE FROM device WHERE device_id = ?');
    this.#list = database.prepare('SELECT * FROM device WHERE device_id > ? ORDER BY device_id LIMIT ?');
    this.#count = database.prepare('SELECT total, disabled FROM device_total');
  }

  get(deviceId: string): DeviceRecord | undefined {
    const row = this.#get.get(deviceId);
    return row === undefined ? undefined : record(row);
  }

  put(input: Omit<DeviceRecord, 'etag'>, expected: Expectation): DeviceRecord {
    const existing = this.get(input.deviceId);
    if (expected.kind === 'absent') {
      if (existing !== undefined) throw new CulvertError('device_exists');
    } else {
      expectExisting(existing, expected);
    }
    const etag = randomBytes(9).toString('base64url');
    const { deviceId, generationId, status, statusReason, statusUpdatedAt, createdAt, updatedAt } = input;
    const { primaryKey, secondaryKey } = input;
    const stored: DeviceRecord = {
      ...{ deviceId, generationId, etag, status, statusReason, statusUpdatedAt },
      ...{ createdAt, updatedAt, primaryKey, secondaryKey },
    };
    this.#put.run({ ...stored });
    return stored;
  }

  delete(deviceId: string, expected: Expectation): void {
    expectExisting(this.get(deviceId), expected);
    this.#delete.run(deviceId);
  }

  list(after: string, limit: number): DeviceRecord[] {
    return this.#list.all(after, limit).map(record);
  }

  count(): { total: number; disabled: number } {
    const row = this.#count.get();
    return { total: Number(row?.['total']), disabled: Number(row?.['disabled']) };
  }
}

function expectExisting(existing: DeviceRecord | undefined, expected: Expectation): void {
  if (existing === undefined) throw new CulvertError('device_not_found');
  if (expected.kind === 'absent' || (expected.kind === 'etag' && expected.etag !== existing.etag))
    throw new CulvertError('precondition_failed');
}

function record(row: Row): DeviceRecord {
  const reason = row['status_reason'];
  return {
    deviceId: String(row['device_id']),
    generationId: String(row['generation_id']),
    etag: String(row['etag']),
    status: row['status'] === 'enabled' ? 'enabled' : 'disabled',
    statusReason: typeof reason === 'string' ? reason : null,
    statusUpdatedAt: Number(row['status_updated_at']),
    createdAt: Number(row['created_at']),
    updatedAt: Number(row['updated_at']),
    primaryKey: String(row['primary_key']),
    secondaryKey: String(row['secondary_key']),
  };
}
