import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AuditBench, ended } from '../observe/audit/audit-log.fixture.ts';
import { appendCheckpoint } from '../observe/audit/checkpoint-file.ts';
import { FileTarget } from '../observe/diagnostics/file-target.ts';

let directory: string;
let victim: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-plain-'));
  victim = join(directory, 'victim');
  await writeFile(victim, '');
});
afterEach(() => rm(directory, { recursive: true }));

const isLink = expect.objectContaining({
  code: 'config_invalid',
  message: expect.stringMatching(/ is a symbolic link, which the hub does not write through: put a file in its place/),
});

it('records of the log are not written through a link', async () => {
  const path = join(directory, 'log.jsonl');
  await symlink(victim, path);
  await expect(FileTarget.open({ path, maxBytes: 1_000_000, keep: 1 })).rejects.toThrow(isLink);
});

it('neither are checkpoints nor audit records', async () => {
  const bench = new AuditBench();
  try {
    const first = await bench.open();
    first.observe(ended('1'));
    await first.close();
    const [checkpoint] = bench.checkpoints;
    if (checkpoint === undefined) throw new Error('no checkpoint was signed');
    const path = join(directory, 'checkpoints.jsonl');
    await symlink(victim, path);
    await expect(appendCheckpoint(path, checkpoint)).rejects.toThrow(isLink);
    const [file] = await bench.files();
    if (file === undefined) throw new Error('there is no file');
    await writeFile(victim, await readFile(file));
    await rm(file);
    await symlink(victim, file);
    await expect(bench.open()).rejects.toThrow(isLink);
  } finally {
    bench.remove();
  }
});
