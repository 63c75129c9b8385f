import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PolicyFiles } from './policy-files.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-policies-'));
});

afterEach(() => rm(directory, { recursive: true }));

const policy = (name: string, key: string) => ({ name, permissions: [], primaryKey: key, secondaryKey: 'AAAA' });
const text = (name: string) => readFile(join(directory, 'policies', name), 'utf8');

describe("the policies' files", () => {
  it('hold one connection string each, for their owner alone', async () => {
    const files = new PolicyFiles({ directory, host: 'hub.example', port: 8443 });
    await files.write([policy('service', 'BBBB'), policy('device', 'CCCC')]);
    expect(await text('service')).toBe('HostName=hub.example:8443;SharedAccessKeyName=service;SharedAccessKey=BBBB\n');
    expect((await readdir(join(directory, 'policies'))).toSorted()).toEqual(['device', 'service']);
    expect((await stat(join(directory, 'policies'))).mode & 0o777).toBe(0o700);
    expect((await stat(join(directory, 'policies', 'device'))).mode & 0o777).toBe(0o600);
  });

  it('follow rotations in their order, and another name of the hub', async () => {
    const files = new PolicyFiles({ directory, host: 'hub.example', port: 443 });
    await Promise.all(['BBBB', 'CCCC', 'DDDD'].map((key) => files.write([policy('service', key)])));
    expect(await text('service')).toBe('HostName=hub.example;SharedAccessKeyName=service;SharedAccessKey=DDDD\n');
    await new PolicyFiles({ directory, host: '::1', port: 8443 }).write([policy('service', 'DDDD')]);
    expect(await text('service')).toMatch(/^HostName=\[::1\]:8443;/);
  });

  it('are left alone when nothing changed, and one failure does not stop the next', async () => {
    const files = new PolicyFiles({ directory, host: 'hub.example', port: 443 });
    await files.write([policy('service', 'BBBB')]);
    const { ino } = await stat(join(directory, 'policies', 'service'));
    await files.write([policy('service', 'BBBB')]);
    expect((await stat(join(directory, 'policies', 'service'))).ino).toBe(ino);
    await expect(files.write([policy('no/such', 'BBBB')])).rejects.toThrow();
    await files.write([policy('service', 'CCCC')]);
    expect(await text('service')).toContain('CCCC');
  });

  it('are never written through a link, in the place of a file or of the one that is written first', async () => {
    const files = new PolicyFiles({ directory, host: 'hub.example', port: 443 });
    await files.write([policy('device', 'BBBB')]);
    const victim = join(directory, 'victim');
    await writeFile(victim, 'precious');
    for (const name of ['service', '.service.tmp']) {
      // Another user with write access could do this between two writes; the next start refuses the directory.
      const place = join(directory, 'policies', name);
      await rm(place, { force: true });
      await symlink(victim, place);
      await files.write([policy('service', `CCC${name.length}`)]).catch(() => undefined);
      expect(await readFile(victim, 'utf8')).toBe('precious');
      await rm(place, { force: true });
    }
  });

  it('are written over what a crash left half done', async () => {
    const files = new PolicyFiles({ directory, host: 'hub.example', port: 443 });
    await files.write([policy('service', 'BBBB')]);
    await writeFile(join(directory, 'policies', '.service.tmp'), 'HostName=ha'.repeat(100));
    await files.write([policy('service', 'CCCC')]);
    expect(await text('service')).toBe('HostName=hub.example;SharedAccessKeyName=service;SharedAccessKey=CCCC\n');
    expect(await readdir(join(directory, 'policies'))).toEqual(['service']);
  });
});
