import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ownCommand } from './own-command.ts';

let directory: string;
beforeEach(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'culvert-own-')));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function program(path: string): string {
  const file = join(directory, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, '');
  return file;
}

function link(path: string, target: string): string {
  const file = join(directory, path);
  mkdirSync(dirname(file), { recursive: true });
  symlinkSync(target, file);
  return file;
}

const of = (script: string, cwd: string, ...path: string[]) =>
  ownCommand({ node: '/usr/bin/node', script, cwd: join(directory, cwd), path: path.join(':') });

it('after a global installation it is the bare name, wherever it is run', () => {
  const script = link('usr/bin/culvert', program('usr/lib/node_modules/culvert/bin/culvert.js'));
  const path = join(directory, 'usr/bin');
  expect(of(script, 'anywhere', '/bin', path)).toEqual({ text: 'culvert', isLocal: false });
  // Some systems resolve the symbolic link before they start the program.
  expect(of(realpathSync(script), 'anywhere', path)).toEqual({ text: 'culvert', isLocal: false });
});

it('in a checkout or a project it is npx, also from a directory below', () => {
  const script = program('project/packages/cli/bin/culvert.js');
  const bin = dirname(link('project/node_modules/.bin/culvert', script));
  const expected = { text: 'npx --no-install culvert', isLocal: true };
  expect(of(script, 'project', bin)).toEqual(expected);
  expect(of(join(bin, 'culvert'), 'project/packages', bin, '/usr/bin')).toEqual(expected);
});

it('in a checkout beside another one that is installed globally it is npx all the same', () => {
  const script = program('project/packages/cli/bin/culvert.js');
  link('project/node_modules/.bin/culvert', script);
  const other = dirname(link('usr/bin/culvert', program('usr/lib/node_modules/culvert/bin/culvert.js')));
  expect(of(script, 'project', other).text).toBe('npx --no-install culvert');
});

it('fetched for once by npx it is that', () => {
  const script = program('home/.npm/_npx/0a1b/node_modules/.bin/culvert');
  expect(of(script, 'anywhere', dirname(script))).toEqual({ text: 'npx culvert', isLocal: false });
});

it('else it is named by its path', () => {
  const script = program('a checkout/culvert.js');
  expect(of(script, 'anywhere')).toEqual({ text: `/usr/bin/node '${script}'`, isLocal: false });
});
