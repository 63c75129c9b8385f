import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');

/** What only Node has. `module` and `exports` are not among them: they are no globals of an ES module, and good names for variables. */
const NODE_GLOBALS = [
  ...['Buffer', 'process', 'global', 'require', '__dirname', '__filename', 'setImmediate', 'clearImmediate', 'NodeJS'],
];
const NODE_GLOBAL = new RegExp(`(?:\\bglobalThis\\s*\\.\\s*|(?<![.\\w$#]))(?:${NODE_GLOBALS.join('|')})\\b`);
const NODE_META = /\bimport\.meta\.(?:dirname|filename)\b/;
const IMPORT = /\b(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/;

/** The text without comments and without what stands in strings, line by line; the expressions in templates stay. */
function codeLines(text: string): string[] {
  const tokens = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g;
  return text
    .replace(tokens, (token) => {
      const expressions = token.startsWith('`') ? [...token.matchAll(/\$\{([^}]*)\}/g)].map((match) => match[1]) : [];
      return `${expressions.join(' ')}${'\n'.repeat(token.split('\n').length - 1)}`;
    })
    .split('\n');
}

/** Imports with their lines; comments are left out, and types count like values. */
function importsOf(text: string): { specifier: string; line: number }[] {
  const withoutComments = text.replace(/^\s*(?:\/\/[^\n]*|\/\*[\s\S]*?\*\/)/gm, (comment) =>
    '\n'.repeat(comment.split('\n').length - 1),
  );
  return withoutComments.split('\n').flatMap((content, index) => {
    const specifier = IMPORT.exec(content)?.[1];
    return specifier === undefined ? [] : [{ specifier, line: index + 1 }];
  });
}

/** The source file that an import means; undefined if it is no file of this repository. */
function sourceOf(specifier: string, importer: string): string | undefined {
  if (specifier.startsWith('.')) return relative(root, resolve(root, dirname(importer), specifier));
  const [, name, path] = /^@culvert\/([^/]+)(?:\/(.+))?$/.exec(specifier) ?? [];
  if (name === undefined) return undefined;
  const manifest = JSON.parse(readFileSync(join(root, `packages/${name}/package.json`), 'utf8')) as {
    exports: Record<string, { development: string }>;
  };
  const entry = manifest.exports[path === undefined ? '.' : `./${path}`];
  return entry === undefined ? undefined : join(`packages/${name}`, entry.development);
}

interface Walk {
  readonly files: Set<string>;
  /** `file:line: what is wrong` */
  readonly faults: string[];
}

/** Reads the source file and all that it imports, over the borders of packages. */
function walk(path: string, found: Walk = { files: new Set(), faults: [] }): Walk {
  if (found.files.has(path)) return found;
  found.files.add(path);
  const text = readFileSync(join(root, path), 'utf8');
  codeLines(text).forEach((line, index) => {
    const match = NODE_GLOBAL.exec(line) ?? NODE_META.exec(line);
    if (match !== null) found.faults.push(`${path}:${index + 1}: uses ${match[0]}`);
  });
  for (const { specifier, line } of importsOf(text)) {
    const source = sourceOf(specifier, path);
    if (source === undefined || !existsSync(join(root, source)))
      found.faults.push(`${path}:${line}: imports ${specifier}`);
    else walk(source, found);
  }
  return found;
}

describe('@culvert/session/core', () => {
  it('imports no module of Node or of others, and uses no global that only Node has', () => {
    const { files, faults } = walk('packages/session/src/core/index.ts');
    expect(faults).toEqual([]);
    expect(files.size).toBeGreaterThan(15);
  });
});

describe('the search for what only Node has', () => {
  it('finds it in files that are imported, and says where', () => {
    const { faults } = walk('packages/session/src/index.ts');
    const imported = readFileSync(join(root, 'packages/session/src/node-environment.ts'), 'utf8').split('\n');
    const line = (text: string) => imported.findIndex((content) => content.includes(text)) + 1;
    expect(faults).toContain(`packages/session/src/node-environment.ts:${line('node:crypto')}: imports node:crypto`);
    expect(faults).toContain(`packages/session/src/node-environment.ts:${line('process.nextTick')}: uses process`);
  });

  it('crosses the borders of packages', () => {
    expect(walk('packages/session/src/index.ts').files).toContain('packages/protocol/src/index.ts');
  });

  it.each([
    ['const a = Buffer.from("a");', 1],
    ['const a = globalThis.process;', 1],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: code that is searched
    ['const a = `at ${__dirname}`;', 1],
    ['const a = import.meta.dirname;', 1],
    ["// Buffer\n/* process\n */\nconst a = 'require';", 0],
    ['const a = options.process; const buffer = new ArrayBuffer(1);', 0],
  ])('judges %j', (text, count) => {
    const found = codeLines(text).filter((line) => NODE_GLOBAL.test(line) || NODE_META.test(line));
    expect(found.length).toBe(count);
  });
});
