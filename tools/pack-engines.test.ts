import { execFileSync } from 'node:child_process';
import { cpSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');

interface Manifest {
  readonly name: string;
  readonly private?: boolean;
  readonly engines?: { readonly node: string };
  readonly publishConfig?: { readonly engines?: { readonly node: string } };
}

const read = (path: string): Manifest => JSON.parse(readFileSync(path, 'utf8')) as Manifest;
const manifests = globSync('packages/*/package.json', { cwd: root }).map((path) => ({
  directory: join(path, '..'),
  manifest: read(join(root, path)),
}));

let copy: string | undefined;
afterEach(() => {
  if (copy !== undefined) rmSync(copy, { recursive: true, force: true });
});

describe('which Node a package needs', () => {
  it('is no warning of `npm ci` on Node 20, whose checkout brings another', () => {
    const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { engines?: { node: string } }>;
    };
    const asked = [
      ...manifests.map(({ manifest }) => manifest.engines?.node),
      ...manifests.map(({ directory }) => lock.packages[directory]?.engines?.node),
      read(join(root, 'package.json')).engines?.node,
    ];
    expect(new Set(asked)).toEqual(new Set([undefined, '>=20.19']));
  });

  it('is said by every package that is published', () => {
    const published = manifests.filter(({ manifest }) => manifest.private !== true);
    const said = published.map(({ manifest }) => manifest.engines?.node ?? manifest.publishConfig?.engines?.node);
    expect(said.every((range) => range === '>=20.19' || range === '>=22.19')).toBe(true);
    expect(said).toContain('>=22.19');
  });

  it.each(manifests.filter(({ manifest }) => manifest.publishConfig?.engines !== undefined))(
    'is in what is packed of $directory, and the checkout is as before',
    ({ directory, manifest }) => {
      copy = mkdtempSync(join(tmpdir(), 'culvert-pack-'));
      mkdirSync(join(copy, 'tools'));
      cpSync(join(root, 'tools/pack-engines.mjs'), join(copy, 'tools/pack-engines.mjs'));
      const at = join(copy, directory);
      mkdirSync(at, { recursive: true });
      cpSync(join(root, directory, 'package.json'), join(at, 'package.json'));
      const [packed] = JSON.parse(execFileSync('npm', ['pack', '--json'], { cwd: at, encoding: 'utf8' })) as [
        { filename: string },
      ];
      execFileSync('tar', ['-xzf', packed.filename], { cwd: at });
      const inside = read(join(at, 'package/package.json'));
      expect(inside.engines).toEqual(manifest.publishConfig?.engines);
      expect(inside.publishConfig).toBe(undefined);
      expect(readFileSync(join(at, 'package.json'), 'utf8')).toBe(
        readFileSync(join(root, directory, 'package.json'), 'utf8'),
      );
    },
  );
});
