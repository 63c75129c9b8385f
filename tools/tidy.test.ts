import { globSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const code = globSync('{packages/*/src,packages/*/test,bench,fuzz,tools,tests,examples}/**/*.ts', { cwd: root }).filter(
  (path) => !path.includes('node_modules'),
);
const documents = globSync(['*.md', '{docs,packages,examples,bench}/**/*.md'], { cwd: root }).filter(
  (path) => !path.includes('node_modules'),
);

/** Maximum lines of a file; a longer one probably has more than one purpose. Tests may be longer, because they contain tables of cases. */
const MAX_LINES = { source: 400, test: 700 };

describe('the code', () => {
  it('is in files of one purpose', () => {
    const long = code.filter((path) => {
      const limit = /\.(test|fixture)\.ts$/.test(path) ? MAX_LINES.test : MAX_LINES.source;
      return read(path).split('\n').length > limit;
    });
    expect(long).toEqual([]);
  });

  it('names things for what they are', () => {
    const vague = /(manager|helper|utils?|common|processor|misc)s?(\.test)?\.ts$/;
    expect(code.filter((path) => vague.test(basename(path)))).toEqual([]);
  });

  it('leaves nothing for later, and escapes no type', () => {
    const marks = new RegExp(
      ['TO' + 'DO', 'FIX' + 'ME', '@ts-' + 'ignore', '@ts-expect-' + 'error', 'as unknown ' + 'as'].join('|'),
    );
    expect(code.filter((path) => marks.test(read(path)))).toEqual([]);
  });

  it('skips no test', () => {
    const skipped = new RegExp(`\\b(it|test|describe)\\.(${['skip', 'only', 'todo'].join('|')})`);
    expect(code.filter((path) => path.endsWith('.test.ts') && skipped.test(read(path)))).toEqual([]);
  });
});

describe('the documents', () => {
  it('link to what is there', () => {
    const broken = documents.flatMap((path) =>
      [...read(path).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
        .map((match) => match[1] as string)
        .filter((target) => globSync(join(dirname(join(root, path)), target)).length === 0)
        .map((target) => `${path}: ${target}`),
    );
    expect(broken).toEqual([]);
  });
});
