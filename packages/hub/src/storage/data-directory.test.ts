import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDataDirectory } from './data-directory.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-directory-'));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);

describe('openDataDirectory', () => {
  it('makes what is missing on the way, for its owner alone', () => {
    const path = join(directory, 'a', 'b');
    openDataDirectory(`${path}/`);
    expect([mode(path), mode(join(directory, 'a'))]).toEqual(['700', '700']);
    expect(() => openDataDirectory(path)).not.toThrow();
  });

  it('takes an existing directory away from others', () => {
    chmodSync(directory, 0o755);
    openDataDirectory(directory);
    expect(mode(directory)).toBe('700');
  });

  it('refuses a directory, or what is in it, that belongs to somebody else', () => {
    const user = process.geteuid?.() ?? 0;
    const refusal = (path: string, other: number) =>
      expect.objectContaining({
        code: 'config_invalid',
        message: expect.stringMatching(
          `^(The data directory )?${path} belongs to user ${user}, and this process is user ${other}: .*chown -R ${other} `,
        ),
      });
    expect(() => openDataDirectory(directory, user + 1)).toThrow(refusal(directory, user + 1));
  });

  it.each([
    ['a file', 'policies/service'],
    ['a directory', 'policies'],
    ['a link that leads nowhere', 'ca.pem'],
  ])('refuses %s in it that is a symbolic link', (what, name) => {
    mkdirSync(join(directory, 'policies'));
    const elsewhere = mkdtempSync(join(tmpdir(), 'culvert-elsewhere-'));
    try {
      const path = join(directory, name);
      rmSync(path, { recursive: true, force: true });
      symlinkSync(what === 'a directory' ? elsewhere : join(elsewhere, 'nothing'), path);
      expect(() => openDataDirectory(directory)).toThrow(
        expect.objectContaining({
          code: 'config_invalid',
          message: `${path} is a symbolic link, which a hub does not follow in its data directory: put what it leads to in its place.`,
        }),
      );
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
  });

  it('may be reached by a link itself', () => {
    const link = `${directory}-link`;
    symlinkSync(directory, link);
    try {
      expect(() => openDataDirectory(link)).not.toThrow();
    } finally {
      rmSync(link);
    }
  });

  it('says so when a file is in the way', () => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    for (const path of [file, join(file, 'below')]) {
      expect(() => openDataDirectory(path)).toThrow(expect.objectContaining({ code: 'config_invalid' }));
    }
  });

  // Runs in a separate process: Node's recursive mkdir never returns on a file system that reports ENOENT for a child of its own root.
  it('does not hang where nothing can be made', () => {
    const module = new URL('./data-directory.ts', import.meta.url).href;
    const script = `import { openDataDirectory } from ${JSON.stringify(module)};
      try { openDataDirectory('/proc/culvert/data'); } catch (error) { console.log(error.code, error.message); }`;
    const args = ['--conditions=development', '--input-type=module', '-e', script];
    const { stdout, error } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 120_000 });
    expect(error).toBeUndefined();
    expect(stdout).toMatch(/^config_invalid The data directory \/proc\/culvert\/data cannot be used \(.+\): name one/);
  });
});
