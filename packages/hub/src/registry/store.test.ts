import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { systemClock } from '@culvert/stream';
import { sampleDevice } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type Store } from './open-store.ts';
import type { PolicyRecord } from './registry.ts';
import { SHARED_ACCESS_POLICIES } from './shared-access-policies.ts';

let directory: string;
const open: Store[] = [];
const rotated: PolicyRecord[] = [];
const listener = {
  identityChanged() {},
  authoritiesChanged() {},
  policyChanged: (record: PolicyRecord) => void rotated.push(record),
};

async function opened(): Promise<Store> {
  const store = await openStore({ directory, listener, clock: systemClock });
  open.push(store);
  return store;
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-store-'));
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((store) => store.close()));
  rotated.length = 0;
  await rm(directory, { recursive: true });
});

describe('the store', () => {
  it('is private to its owner, whatever the directory was before', async () => {
    await chmod(directory, 0o755);
    const { registry } = await opened();
    await registry.put(sampleDevice('d'), { kind: 'absent' });
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    const files = await readdir(directory);
    expect(files.toSorted()).toEqual(['hub.lock', 'registry.db', 'registry.db-shm', 'registry.db-wal']);
    for (const file of files) expect((await stat(join(directory, file))).mode & 0o777, file).toBe(0o600);
  });

  it('keeps devices and keys across a restart', async () => {
    const first = await opened();
    const stored = await first.registry.put(sampleDevice('d'), { kind: 'absent' });
    const policies = await first.policies.list();
    await first.close();
    const second = await opened();
    expect(await second.registry.get({ deviceId: 'd' })).toEqual(stored);
    expect(await second.policies.list()).toEqual(policies);
  });

  it('finishes what waits before it closes, and takes nothing after', async () => {
    const store = await opened();
    const writes = Array.from({ length: 2_500 }, (_, n) =>
      store.registry.put(sampleDevice(`d${n}`), { kind: 'absent' }),
    );
    const closed = store.close();
    await expect(store.registry.get({ deviceId: 'd0' })).rejects.toMatchObject({ code: 'draining' });
    await Promise.all([...writes, closed, store.close()]);
    expect(await (await opened()).registry.count()).toEqual({ total: 2_500, disabled: 0 });
  });

  it('answers from memory what was asked before, until something is written', async () => {
    let calls = 0;
    const store = await openStore({ directory, listener, clock: systemClock, onCall: () => void calls++ });
    open.push(store);
    const { registry, policies } = store;
    const first = await registry.put(sampleDevice('d'), { kind: 'absent' });
    await registry.get({ deviceId: 'd' });
    await policies.get('service');
    calls = 0;
    for (let n = 0; n < 3; n++) {
      expect(await registry.get({ deviceId: 'd' })).toEqual(first);
      expect((await policies.get('service'))?.name).toBe('service');
    }
    expect(calls).toBe(0);
    const second = await registry.put({ ...first, status: 'disabled' }, { kind: 'present' });
    expect(await registry.get({ deviceId: 'd' })).toEqual(second);
    const keys = await policies.rotate('service');
    expect(await policies.get('service')).toEqual(keys);
    await registry.delete({ deviceId: 'd' }, { kind: 'present' });
    expect(await registry.get({ deviceId: 'd' })).toBeUndefined();
  });

  it('refuses more calls than it can hold, and goes on', async () => {
    const { registry } = await opened();
    const calls = Array.from({ length: 10_001 }, () => registry.get({ deviceId: 'd' }));
    const refused = (await Promise.allSettled(calls)).filter(({ status }) => status === 'rejected');
    expect(refused).toEqual([{ status: 'rejected', reason: expect.objectContaining({ code: 'too_many_requests' }) }]);
    expect(await registry.get({ deviceId: 'd' })).toBeUndefined();
  });

  it('lists a hundred thousand devices in pages', async () => {
    await (await opened()).close();
    const database = new DatabaseSync(join(directory, 'registry.db'));
    database.exec(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99999)
      INSERT INTO device SELECT format('device-%06d', i), 'g', 'e', 'enabled', NULL, 0, 0, 0, 'k', 'k', 'sas', '', '', 0, '' FROM n`);
    database.close();
    const { registry } = await opened();
    let seen = 0;
    let after = '';
    for (
      let page = await registry.list({ limit: 1000 });
      page.length > 0;
      page = await registry.list({ after, limit: 1000 })
    ) {
      seen += page.length;
      after = page.at(-1)?.deviceId ?? '';
    }
    expect([seen, after]).toEqual([100_000, 'device-099999']);
    expect(await registry.count()).toEqual({ total: 100_000, disabled: 0 });
    await expect(registry.list({ limit: 10_001 })).rejects.toMatchObject({ code: 'argument_invalid' });
  });
});

describe('the shared access policies', () => {
  it('are the six, each with its permissions and two keys of 32 bytes', async () => {
    const list = await (await opened()).policies.list();
    const permissions = Object.fromEntries(list.map((policy) => [policy.name, policy.permissions]));
    expect(permissions).toEqual(SHARED_ACCESS_POLICIES);
    const keys = list.flatMap(({ primaryKey, secondaryKey }) => [primaryKey, secondaryKey]);
    expect(new Set(keys).size).toBe(12);
    for (const key of keys) expect(Buffer.from(key, 'base64')).toHaveLength(32);
  });

  it('rotate: the primary becomes the secondary', async () => {
    const { policies } = await opened();
    const before = await policies.get('service');
    const after = await policies.rotate('service');
    expect(after.secondaryKey).toBe(before?.primaryKey);
    expect([before?.primaryKey, before?.secondaryKey]).not.toContain(after.primaryKey);
    expect(rotated).toEqual([after]);
    expect(await policies.get('service')).toEqual(after);
    await expect(policies.rotate('constructor')).rejects.toMatchObject({ code: 'policy_not_found' });
    expect(await policies.get('constructor')).toBeUndefined();
  });
});

describe('a store that cannot be opened', () => {
  const refused = (message: RegExp) =>
    expect(opened()).rejects.toMatchObject({ code: 'config_invalid', message: expect.stringMatching(message) });

  it('says so when another hub is on the directory, until that one ends', async () => {
    const first = await opened();
    await refused(/^Another hub is running on the data directory/);
    await first.registry.put(sampleDevice('d'), { kind: 'absent' });
    await first.close();
    expect((await (await opened()).registry.get({ deviceId: 'd' }))?.deviceId).toBe('d');
  });

  it('says so when the database is newer', async () => {
    await (await opened()).close();
    const database = new DatabaseSync(join(directory, 'registry.db'));
    database.exec('PRAGMA user_version = 99');
    database.close();
    await refused(/written by a newer Culvert \(its schema is 99/);
  });

  it("says so when the database is somebody else's", async () => {
    const database = new DatabaseSync(join(directory, 'registry.db'));
    database.exec('CREATE TABLE bookmarks (url TEXT)');
    database.close();
    await refused(/is a database, but not a registry of Culvert/);
  });

  it('says so when the database is damaged', async () => {
    await writeFile(join(directory, 'registry.db'), 'This is no database, and long enough to be none.'.repeat(200));
    await refused(/its file is damaged\. Restore it from a backup, or move it away/);
  });

  it('says so when the directory is a file, or below one', async () => {
    const file = join(directory, 'file');
    await writeFile(file, '');
    for (const path of [file, join(file, 'below')]) {
      const failure = openStore({ directory: path, listener, clock: systemClock });
      await expect(failure).rejects.toMatchObject({ code: 'config_invalid', message: expect.stringContaining(path) });
    }
  });
});
