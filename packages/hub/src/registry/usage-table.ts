import type { DatabaseSync } from 'node:sqlite';
import type { DeviceUsage } from './registry.ts';

/** The database table of the bytes that devices carried today: one row per device with traffic. */
export class UsageTable {
  readonly #load;
  readonly #save;
  readonly #forget;

  constructor(database: DatabaseSync) {
    this.#load = database.prepare('SELECT device_id, bytes FROM daily_usage WHERE day = ?');
    this.#save = database.prepare(
      `INSERT INTO daily_usage VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET day = excluded.day, bytes = excluded.bytes`,
    );
    this.#forget = database.prepare('DELETE FROM daily_usage WHERE day <> ?');
  }

  load(day: string): DeviceUsage[] {
    return this.#load.all(day).map((row) => ({ deviceId: String(row['device_id']), bytes: Number(row['bytes']) }));
  }

  save(day: string, totals: readonly DeviceUsage[]): void {
    this.#forget.run(day);
    for (const { deviceId, bytes } of totals) this.#save.run(deviceId, day, bytes);
  }
}
