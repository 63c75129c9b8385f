import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { ServiceClient } from '@culvert/service';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { culvert, startCulvert } from '../culvert.fixture.ts';

const directory = mkdtempSync(join(tmpdir(), 'culvert-audit-'));
const auditFile = () =>
  join(directory, 'audit', readdirSync(join(directory, 'audit')).find((name) => name.startsWith('0')) as string);

/** Starts a hub in a process of its own, with a data directory that is kept after the hub ends. */
async function startHub() {
  const listen = ['--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0', '--data-dir', directory];
  const hub = startCulvert(['hub', ...listen]);
  await hub.line(/hub-started/);
  const connection = readFileSync(join(directory, 'policies', 'iothubowner'), 'utf8').trim();
  const ca = readFileSync(join(directory, 'ca.pem'), 'utf8');
  const client = ServiceClient.fromConnectionString(connection, { outbound: { ca, proxy: false } });
  return { hub, client };
}

beforeAll(async () => {
  const { hub, client } = await startHub();
  await client.devices.create('press-7');
  // Kill the hub while it writes many records: the file is then half-written, as after a crash.
  const open = () => client.openStream('press-7', { name: 'ssh', connectTimeoutMs: 0 });
  const many = Array.from({ length: 200 }, () => open().catch(() => undefined));
  await Promise.all(many.slice(0, 20));
  hub.child.kill('SIGKILL');
  await once(hub.child, 'exit');
  await Promise.all(many);
  client.close();
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('culvert audit', () => {
  it('list shows what happened, as a table and as one JSON record a line', async () => {
    const { hub, client } = await startHub();
    await expect(client.openStream('press-7', { name: 'web', connectTimeoutMs: 0 })).rejects.toThrow();
    client.close();
    const flags = ['audit', 'list', '--data-dir', directory];
    const table = await culvert([...flags, '--device', 'press-7']);
    expect(table.stdout).toMatch(/^SEQ +TIME +WHAT +DEVICE +BY +SECONDS +SENT +BACK +WHY\n/);
    expect(table.stdout).toMatch(/ registry-changed created +press-7 +policy:iothubowner\n/);
    expect(table.stdout).toMatch(/ web +press-7 +policy:iothubowner +[\d.]+ +0 +0 +device_offline\n/);
    expect(Math.max(...table.stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120);
    const json = await culvert([...flags, '--since', '1h', '--type', 'log-opened', '--output', 'json']);
    const opened = json.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { before: string });
    expect(opened.map(({ before }) => before)).toEqual(['nothing', 'interrupted']);
    expect((await culvert([...flags, '--since', 'soon'])).code).toBe(2);
    // Like culvert logs: the newest N records, oldest first, with times marked as UTC.
    const sequence = (text: string) => text.split('\n').flatMap((row) => /^\d+/.exec(row)?.[0] ?? []);
    const newest = await culvert([...flags, '--device', 'press-7', '--limit', '3']);
    expect(sequence(newest.stdout)).toEqual(sequence(table.stdout).slice(-3));
    expect(newest.stdout).toMatch(/^\d+ +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ /m);
    expect((await culvert([...flags, '--limit', '0'])).code).toBe(2);
    hub.child.kill('SIGTERM');
    await hub.ended;
  });

  it('verify finds nothing after a kill and a stop', async () => {
    const { code, stdout, stderr } = await culvert(['audit', 'verify', '--data-dir', directory]);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^\d+ records up to (\d+), unbroken; signed up to record \1\n$/);
    expect(code).toBe(0);
  });

  it('verify says which line was changed, and takes key and checkpoints from elsewhere', async () => {
    const file = auditFile();
    const elsewhere = mkdtempSync(join(tmpdir(), 'culvert-elsewhere-'));
    for (const name of ['public.pem', 'checkpoints.jsonl'])
      copyFileSync(join(directory, 'audit', name), join(elsewhere, name));
    const whole = readFileSync(file, 'utf8');
    writeFileSync(file, whole.replace('policy:iothubowner', 'policy:service'));
    const changed = await culvert(['audit', 'verify', file]);
    expect(changed.code).toBe(1);
    expect(changed.stdout).toBe(`${file}:2: Record 2 was changed: its hash is not that of its content.\n`);
    // The records are cut off together with the hub's own checkpoints: only checkpoints that were kept elsewhere show it.
    writeFileSync(file, `${whole.split('\n').slice(0, 4).join('\n')}\n`);
    const kept = ['--public-key', join(elsewhere, 'public.pem'), '--checkpoints', join(elsewhere, 'checkpoints.jsonl')];
    const unsigned = await culvert(['audit', 'verify', file]);
    expect(unsigned).toMatchObject({ code: 1, stdout: expect.stringContaining(`${file}: No checkpoint vouches for`) });
    expect(unsigned.stderr).toContain('4 records, 1 finding: do not rely on this audit record');
    expect(await culvert(['audit', 'verify', file, '--allow-unsigned'])).toMatchObject({
      code: 0,
      stdout: '4 records up to 4, unbroken; no checkpoint vouches for them\n',
    });
    const cut = await culvert(['audit', 'verify', file, ...kept, '--output', 'json']);
    expect(cut.code).toBe(1);
    expect(JSON.parse(cut.stdout)).toMatchObject({
      findings: [{ problem: expect.stringContaining('cut off') }],
      records: 4,
    });
    writeFileSync(file, whole);
    rmSync(elsewhere, { recursive: true });
  });

  it.each([
    [['/nonexistent'], '/nonexistent'],
    [['--data-dir', '/nonexistent'], '/nonexistent/audit'],
    [['--data-dir', directory, '--checkpoints', '/nonexistent/c'], '/nonexistent/c'],
  ])('verify %j says in one line which file is not there and what to do', async (flags, path) => {
    expect(await culvert(['audit', 'verify', ...flags])).toMatchObject({
      ...{ code: 78, stdout: '' },
      stderr: `culvert: cannot read ${path}: there is no such file; name the hub's data directory (--data-dir DIR), or the audit record's directory or files\n`,
    });
  });

  it('verify finds that the checkpoints are gone', async () => {
    const copy = mkdtempSync(join(tmpdir(), 'culvert-copy-'));
    for (const name of ['public.pem', basename(auditFile())])
      copyFileSync(join(directory, 'audit', name), join(copy, name));
    expect(await culvert(['audit', 'verify', copy])).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('there is no file of checkpoints (checkpoints.jsonl'),
    });
    rmSync(copy, { recursive: true });
  });
});
