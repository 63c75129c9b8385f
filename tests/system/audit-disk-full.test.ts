import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { culvert } from './support/culvert.ts';
import { eventually } from './support/eventually.ts';
import { HubProcess } from './support/hub-process.ts';
import { cleanEnvironment } from './support/program.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

function mounts(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
}

it('a full disk under the audit record stops no stream, is said, and what waited is written when there is room again', async () => {
  const hub = await HubProcess.start(cleanup);
  await hub.stop();
  // The audit record is on a separate file system of 256 KiB, which a file of another program fills.
  const audit = join(hub.dataDir, 'audit');
  rmSync(audit, { recursive: true });
  mkdirSync(audit, { mode: 0o700 });
  mounts('mount', '-t', 'tmpfs', '-o', 'size=256k,mode=0700', 'tmpfs', audit);
  cleanup.defer(audit, () => mounts('umount', '--lazy', audit));
  await hub.start();
  const owner = hub.owner(cleanup);
  const ask = () =>
    expect(owner.openStream('nobody', { name: 'ssh' })).rejects.toMatchObject({ code: 'device_not_found' });
  await ask();
  const filler = join(audit, 'filler');
  try {
    writeFileSync(filler, Buffer.alloc(1_048_576));
  } catch (error) {
    expect(error).toMatchObject({ code: 'ENOSPC' });
  }
  // Writes more records than fit in the rest of the last page of the audit file.
  for (let count = 0; count < 20; count++) await ask();
  await hub.program.waitFor(/ENOSPC.*audit-failed/);
  expect(await (await fetch(`http://127.0.0.1:${hub.adminPort}/readyz`)).text()).toBe('ok\n');
  rmSync(filler);
  await hub.program.waitFor(/"lost":0.*audit-resumed/, 60_000);
  await ask();
  let seen = 0;
  await eventually('all to be in the record', async () => {
    seen = 0;
    for await (const _record of owner.audit.list({ type: 'stream-ended' })) seen++;
    return seen >= 22;
  });
  expect(seen).toBe(22);
  await hub.stop();
  const verified = await culvert(['audit', 'verify', audit], { env: cleanEnvironment({ HOME: hub.home }) });
  expect(verified).toMatchObject({ code: 0, stdout: expect.stringContaining('unbroken; signed up to record') });
});
