import type { DatabaseSync } from 'node:sqlite';
import { CulvertError } from '@culvert/protocol';

/** The `PRAGMA application_id` of a Culvert database, "Culv" in ASCII; other databases have another one. */
const APPLICATION_ID = 0x43756c76;

/**
 * The migration steps: step n migrates from version n to n + 1. After a release, steps are only added and never edited. Ids are compared as BINARY,
 * which is the order of code units because device ids are ASCII. Triggers keep the device totals: counting a million rows takes a quarter of a
 * second, in which no client could authenticate.
 */
const STEPS: readonly string[] = [
  `CREATE TABLE device (
     device_id TEXT PRIMARY KEY NOT NULL COLLATE BINARY,
     generation_id TEXT NOT NULL,
     etag TEXT NOT NULL,
     status TEXT NOT NULL CHECK (status IN ('enabled', 'disabled')),
     status_reason TEXT,
     status_updated_at INTEGER NOT NULL,
     created_at INTEGER NOT NULL,
     updated_at INTEGER NOT NULL,
     primary_key TEXT NOT NULL,
     secondary_key TEXT NOT NULL
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE device_total (total INTEGER NOT NULL, disabled INTEGER NOT NULL) STRICT;
   INSERT INTO device_total VALUES (0, 0);
   CREATE TRIGGER device_inserted AFTER INSERT ON device BEGIN
     UPDATE device_total SET total = total + 1, disabled = disabled + (new.status = 'disabled');
   END;
   CREATE TRIGGER device_updated AFTER UPDATE OF status ON device WHEN old.status <> new.status BEGIN
     UPDATE device_total SET disabled = disabled + (new.status = 'disabled') - (old.status = 'disabled');
   END;
   CREATE TRIGGER device_deleted AFTER DELETE ON device BEGIN
     UPDATE device_total SET total = total - 1, disabled = disabled - (old.status = 'disabled');
   END;
   CREATE TABLE policy (
     name TEXT PRIMARY KEY NOT NULL,
     primary_key TEXT NOT NULL,
     secondary_key TEXT NOT NULL
   ) STRICT, WITHOUT ROWID;`,
  // Certificates, modules and authorities.
  `ALTER TABLE device ADD COLUMN authentication TEXT NOT NULL DEFAULT 'sas';
   ALTER TABLE device ADD COLUMN primary_thumbprint TEXT NOT NULL DEFAULT '';
   ALTER TABLE device ADD COLUMN secondary_thumbprint TEXT NOT NULL DEFAULT '';
   ALTER TABLE device ADD COLUMN iot_edge INTEGER NOT NULL DEFAULT 0;
   CREATE TABLE module (
     device_id TEXT NOT NULL COLLATE BINARY,
     module_id TEXT NOT NULL COLLATE BINARY,
     managed_by TEXT,
     generation_id TEXT NOT NULL,
     etag TEXT NOT NULL,
     created_at INTEGER NOT NULL,
     updated_at INTEGER NOT NULL,
     authentication TEXT NOT NULL,
     primary_key TEXT NOT NULL,
     secondary_key TEXT NOT NULL,
     primary_thumbprint TEXT NOT NULL,
     secondary_thumbprint TEXT NOT NULL,
     PRIMARY KEY (device_id, module_id)
   ) STRICT, WITHOUT ROWID;
   CREATE TRIGGER device_deleted_with_modules AFTER DELETE ON device BEGIN
     DELETE FROM module WHERE device_id = old.device_id;
   END;
   CREATE TABLE authority (
     name TEXT PRIMARY KEY NOT NULL,
     certificate TEXT NOT NULL,
     thumbprint TEXT NOT NULL
   ) STRICT, WITHOUT ROWID;`,
  // The bytes that each device carried today, for the daily limit.
  `CREATE TABLE daily_usage (
     device_id TEXT PRIMARY KEY NOT NULL COLLATE BINARY,
     day TEXT NOT NULL,
     bytes INTEGER NOT NULL
   ) STRICT, WITHOUT ROWID;`,
  // The host keys of an identity's SSH server, one per line.
  `ALTER TABLE device ADD COLUMN ssh_host_keys TEXT NOT NULL DEFAULT '';
   ALTER TABLE module ADD COLUMN ssh_host_keys TEXT NOT NULL DEFAULT '';`,
];

/** The schema version this code reads and writes. */
export const SCHEMA_VERSION = STEPS.length;

/**
 * Migrates the database to {@link SCHEMA_VERSION}, with all steps in one transaction.
 * @throws CulvertError `config_invalid` if the database was written by a newer version or is not a registry
 */
export function migrate(database: DatabaseSync, file: string): void {
  const version = pragma(database, 'user_version');
  if (version > SCHEMA_VERSION) {
    throw new CulvertError(
      'config_invalid',
      `The registry ${file} was written by a newer Culvert (its schema is ${version}, this version knows ${SCHEMA_VERSION}): run that version, or restore a backup.`,
    );
  }
  const empty = database.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.['n'] === 0;
  if (!empty && pragma(database, 'application_id') !== APPLICATION_ID) {
    throw new CulvertError(
      'config_invalid',
      `${file} is a database, but not a registry of Culvert: name another data directory.`,
    );
  }
  if (version === SCHEMA_VERSION) return;
  database.exec('BEGIN IMMEDIATE');
  for (const step of STEPS.slice(version)) database.exec(step);
  database.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`);
}

function pragma(database: DatabaseSync, name: 'user_version' | 'application_id'): number {
  return Number(database.prepare(`PRAGMA ${name}`).get()?.[name]);
}
