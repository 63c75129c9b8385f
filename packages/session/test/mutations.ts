import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { MUTATIONS, type Mutation } from './mutations.fixture.ts';

// Removes each rule of the session in turn and runs the session's tests, which must fail: `npm run session:mutations [-- WORD …]`. A word selects the
// mutations whose file or rule contains it. Exits with 1 if the tests pass without a rule.

const root = resolve(import.meta.dirname, '../../..');
/** Milliseconds for the tests of one mutation: a rule whose absence makes a run endless counts as missed. */
const TIMEOUT_MS = 300_000;

/** A copy of the package in a directory of its own, with what its tests need. */
function createCopy(): string {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-mutations-'));
  for (const name of ['package.json', 'tsconfig.base.json', 'vitest.config.ts', 'tools'])
    cpSync(join(root, name), join(directory, name), { recursive: true });
  const filter = (path: string): boolean => !/\/(dist|node_modules|keys)$/.test(path);
  cpSync(join(root, 'packages/session'), join(directory, 'packages/session'), { recursive: true, filter });
  // What tsconfig.json refers to, and what node_modules links to.
  for (const name of ['packages/protocol', 'packages/stream', 'node_modules'])
    symlinkSync(join(root, name), join(directory, name));
  return directory;
}

/** The first test that fails; undefined if none does. The simulation, which takes longest, is asked last. */
function firstFailure(directory: string): string | undefined {
  return (
    firstFailureOf(directory, ['packages/session/test', '--exclude=**/simulation.test.ts']) ??
    firstFailureOf(directory, ['packages/session/test/simulation.test.ts'])
  );
}

function firstFailureOf(directory: string, selection: readonly string[]): string | undefined {
  const args = ['node_modules/vitest/vitest.mjs', 'run', ...selection, '--bail=1', '--reporter=verbose'];
  // One process for all test files: starting them takes longer than most of them run.
  args.push('--pool=threads', '--no-isolate');
  // Real sockets fail slowly, and a rule that only they hold would depend on the machine.
  args.push('--exclude=**/over-sockets.test.ts');
  // It compares the mutations' texts with the sources, so it fails with every one.
  args.push('--exclude=**/mutations.test.ts');
  const result = spawnSync(process.execPath, args, {
    cwd: directory,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    env: { ...process.env, NO_COLOR: '1' },
  });
  if (result.status === 0) return undefined;
  if (result.status === null) return '(no end)';
  const failed = /^\s*(?:×|FAIL)\s+packages\/session\/test\/(.+?)(?: \d+ms)?$/m.exec(result.stdout)?.[1];
  // A run that fails for another reason than a test says nothing about the rule.
  if (failed === undefined) throw new Error(`The tests did not run:\n${result.stdout}\n${result.stderr}`);
  return failed;
}

function tryMutation(directory: string, { file, text, replacement }: Mutation): string | undefined {
  const path = join(directory, 'packages/session/src/core', file);
  const source = readFileSync(path, 'utf8');
  if (source.split(text).length !== 2) throw new Error(`${file}: the text of the mutation is not there once:\n${text}`);
  writeFileSync(
    path,
    source.replace(text, () => replacement),
  );
  try {
    return firstFailure(directory);
  } finally {
    writeFileSync(path, source);
  }
}

const words = process.argv.slice(2);
const selected = MUTATIONS.filter(
  ({ file, rule }) => words.length === 0 || words.some((word) => `${file} ${rule}`.includes(word)),
);
const directory = createCopy();
let survivors = 0;
try {
  if (words.length === 0 && firstFailure(directory) !== undefined)
    throw new Error('The tests fail without a mutation.');
  for (const [index, mutation] of selected.entries()) {
    const failure = tryMutation(directory, mutation);
    if (failure === undefined) survivors++;
    const verdict = failure === undefined ? 'SURVIVED' : 'caught';
    console.log(
      `${String(index + 1).padStart(3)}/${selected.length}  ${verdict.padEnd(8)}  ${mutation.file.padEnd(18)}  ${mutation.rule}  |  ${failure ?? ''}`,
    );
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
console.log(`${selected.length - survivors} of ${selected.length} rules are held by a test.`);
process.exitCode = survivors === 0 ? 0 : 1;
