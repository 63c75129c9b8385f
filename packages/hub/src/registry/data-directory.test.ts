import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
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

  it('says so when a file is in the way', () => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    for (const path of [file, join(file, 'below')]) {
      expect(() => openDataDirectory(path)).toThrow(expect.objectContaining({ code: 'config_invalid' }));
    }
  });

  // In a process of its own: Node's recursive mkdir never returns from a file system that says ENOENT to its own root's child.
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
