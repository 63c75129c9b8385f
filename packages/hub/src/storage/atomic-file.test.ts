import { mkdtemp, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { writeFileAtomic } from './atomic-file.ts';

let directory: string;
let victim: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-atomic-'));
  victim = join(directory, 'victim');
  await writeFile(victim, 'precious');
});
afterEach(() => rm(directory, { recursive: true }));

it.each(['key.pem', '.key.pem.tmp'])(
  'puts a file in the place of a link at %s and leaves alone what that led to',
  async (name) => {
    await symlink(victim, join(directory, name));
    await writeFileAtomic(join(directory, 'key.pem'), 'secret', 0o600);
    expect(await readFile(victim, 'utf8')).toBe('precious');
    expect(await readFile(join(directory, 'key.pem'), 'utf8')).toBe('secret');
    await expect(readlink(join(directory, 'key.pem'))).rejects.toMatchObject({ code: 'EINVAL' });
  },
);
