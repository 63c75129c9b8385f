import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { systemClock } from '@culvert/stream';
import { sampleDevice, sampleModule } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type Store } from './open-store.ts';
import { SCHEMA_VERSION } from './schema.ts';

/** A filled registry of schema version 1, as SQL: the current code can no longer create one. */
const VERSION_1 = `
  CREATE TABLE device (
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
  ) STRICT, WITHOUT ROWID;
  INSERT INTO device VALUES
    ('press-7', 'g1', 'e1', 'enabled', NULL, 11, 12, 13, 'cHJpbWFyeQ==', 'c2Vjb25kYXJ5'),
    ('-a;b=$(c)', 'g2', 'e2', 'disabled', 'gestohlen', 21, 22, 23, 'MQ==', 'Mg==');
  INSERT INTO policy VALUES ('service', 'cA==', 'cw==');
  PRAGMA application_id = ${0x43756c76};
  PRAGMA user_version = 1;`;

let directory: string;
let file: string;
const open: Store[] = [];
const listener = { identityChanged() {}, authoritiesChanged() {}, policyChanged() {} };

async function opened(): Promise<Store> {
  const store = await openStore({ directory, listener, clock: systemClock });
  open.push(store);
  return store;
}

function fill(sql: string): void {
  const database = new DatabaseSync(file);
  database.exec(sql);
  database.close();
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-schema-'));
  file = join(directory, 'registry.db');
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((store) => store.close()));
  await rm(directory, { recursive: true });
});

describe('a registry of the first version', () => {
  it('is brought up to date with all that is in it', async () => {
    fill(VERSION_1);
    const { registry, policies, authorities } = await opened();
    expect(await registry.list({ limit: 10 })).toEqual([
      {
        deviceId: '-a;b=$(c)',
        generationId: 'g2',
        etag: 'e2',
        status: 'disabled',
        statusReason: 'gestohlen',
        statusUpdatedAt: 21,
        createdAt: 22,
        updatedAt: 23,
        authentication: { type: 'sas', primaryKey: 'MQ==', secondaryKey: 'Mg==' },
        managedBy: null,
        iotEdge: false,
        sshHostKeys: [],
      },
      {
        deviceId: 'press-7',
        generationId: 'g1',
        etag: 'e1',
        status: 'enabled',
        statusReason: null,
        statusUpdatedAt: 11,
        createdAt: 12,
        updatedAt: 13,
        authentication: { type: 'sas', primaryKey: 'cHJpbWFyeQ==', secondaryKey: 'c2Vjb25kYXJ5' },
        managedBy: null,
        iotEdge: false,
        sshHostKeys: [],
      },
    ]);
    expect(await registry.count()).toEqual({ total: 2, disabled: 1 });
    expect(await policies.get('service')).toMatchObject({ primaryKey: 'cA==', secondaryKey: 'cw==' });
    expect(await authorities.list()).toEqual([]);
  });

  it('then holds what the first version did not know, across another start', async () => {
    fill(VERSION_1);
    const first = await opened();
    const device = await first.registry.put(
      sampleDevice('press-7', { authentication: { type: 'certificateAuthority' }, iotEdge: true }),
      { kind: 'etag', etag: 'e1' },
    );
    const module = await first.registry.put(sampleModule('press-7', 'camera'), { kind: 'absent' });
    await first.close();
    const second = await opened();
    expect(await second.registry.get(device)).toEqual(device);
    expect(await second.registry.modules('press-7')).toEqual([module]);
    await second.registry.delete({ deviceId: 'press-7' }, { kind: 'present' });
    expect(await second.registry.get(module)).toBeUndefined();
    expect(await second.registry.count()).toEqual({ total: 1, disabled: 1 });
  });

  it('is left as it was when a step cannot be taken', async () => {
    // The second step fails at this table, which already exists, after its first statements have run.
    fill(`${VERSION_1} CREATE TABLE authority (x);`);
    await expect(opened()).rejects.toMatchObject({ code: 'config_invalid', message: expect.stringContaining(file) });
    const database = new DatabaseSync(file);
    expect(database.prepare('PRAGMA user_version').get()).toEqual({ user_version: 1 });
    const columns = database.prepare("SELECT name FROM pragma_table_info('device')").all();
    expect(columns.map(({ name }) => name)).not.toContain('authentication');
    expect(database.prepare('SELECT count(*) AS n FROM device').get()).toEqual({ n: 2 });
    database.close();
    fill('DROP TABLE authority');
    expect(await (await opened()).registry.count()).toEqual({ total: 2, disabled: 1 });
  });
});

it('a new registry has the version of this code', async () => {
  await (await opened()).close();
  const database = new DatabaseSync(file);
  expect(database.prepare('PRAGMA user_version').get()).toEqual({ user_version: SCHEMA_VERSION });
  database.close();
});
