import { DatabaseSync } from 'node:sqlite';
import { sampleDevice } from '@culvert/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import { BatchRunner } from './batch.ts';
import { migrate } from './schema.ts';
import type { StoreCall } from './store-calls.ts';

let database: DatabaseSync;
let runner: BatchRunner;

beforeEach(() => {
  database = new DatabaseSync(':memory:');
  migrate(database, 'memory');
  runner = new BatchRunner(database);
});

const put = (deviceId: string, reason = ''): StoreCall => ({
  name: 'identity.put',
  input: { record: sampleDevice(deviceId, { statusReason: reason }), expected: { kind: 'absent' } },
});
const get = (deviceId: string): StoreCall => ({ name: 'identity.get', input: { deviceId } });
const outcomes = (batch: StoreCall[]) => runner.run(batch).map((result) => (result.ok ? 'ok' : result.code));

describe('a batch', () => {
  it('is one transaction, from the first write to the end', () => {
    database.exec(
      'CREATE TABLE seen (n); CREATE TRIGGER t AFTER INSERT ON device BEGIN INSERT INTO seen VALUES (1); END',
    );
    expect(outcomes([get('a'), put('a'), put('a'), put('b'), get('b')])).toEqual([
      'ok',
      'ok',
      'device_exists',
      'ok',
      'ok',
    ]);
    expect(database.isTransaction).toBe(false);
    expect(database.prepare('SELECT count(*) AS n FROM seen').get()).toEqual({ n: 2 });
  });

  it('fails one write that SQLite refuses and keeps the others', () => {
    database.exec(
      "CREATE TRIGGER t BEFORE INSERT ON device WHEN new.device_id = 'bad' BEGIN SELECT raise(ABORT, 'no'); END",
    );
    expect(outcomes([put('a'), put('bad'), put('b')])).toEqual(['ok', 'internal', 'ok']);
    expect(outcomes([get('a'), put('b')])).toEqual(['ok', 'device_exists']);
  });

  it('fails all that was undone with a rollback of SQLite itself, and goes on with the rest', () => {
    database.exec(
      "CREATE TRIGGER t BEFORE INSERT ON device WHEN new.device_id = 'bad' BEGIN SELECT raise(ROLLBACK, 'no'); END",
    );
    expect(outcomes([get('x'), put('a'), get('a'), put('bad'), put('b')])).toEqual([
      'ok',
      'internal',
      'internal',
      'internal',
      'ok',
    ]);
    expect(runner.run([get('a'), get('b')])).toEqual([
      { ok: true, value: undefined },
      { ok: true, value: expect.objectContaining({ deviceId: 'b' }) },
    ]);
  });

  it('fails as a whole when its commit does', () => {
    database.exec(`PRAGMA foreign_keys = ON; CREATE TABLE parent (id PRIMARY KEY);
      CREATE TABLE child (id REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
      CREATE TRIGGER t AFTER INSERT ON device WHEN new.device_id = 'orphan' BEGIN INSERT INTO child VALUES ('none'); END`);
    expect(outcomes([get('x'), put('a'), put('orphan'), get('a')])).toEqual(['ok', 'internal', 'internal', 'internal']);
    expect(database.isTransaction).toBe(false);
    expect(runner.run([get('a')])).toEqual([{ ok: true, value: undefined }]);
  });
});
