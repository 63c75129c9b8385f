import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const architecture = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');

function block(name: string): string {
  const match = new RegExp(`\`\`\`${name}\\n([\\s\\S]*?)\`\`\``).exec(architecture);
  if (match?.[1] === undefined) throw new Error(`ARCHITECTURE.md has no block '${name}'`);
  return match[1].trim();
}

/** Returns for each package all packages that it may import, directly or indirectly, by the arrows in ARCHITECTURE.md. */
function allowedImports(): Map<string, Set<string>> {
  const arrows = new Map(
    block('imports')
      .split('\n')
      .map((line) => {
        const [from = '', to = ''] = line.split('->').map((part) => part.trim());
        return [from, to.split(',').map((name) => name.trim())] as const;
      }),
  );
  const reach = (name: string): string[] => (arrows.get(name) ?? []).flatMap((next) => [next, ...reach(next)]);
  return new Map([...arrows.keys(), 'protocol'].map((name) => [name, new Set(reach(name))]));
}

interface SourceFile {
  readonly path: string;
  readonly package: string;
  readonly isTest: boolean;
  readonly imports: readonly string[];
}

function importsOf(text: string): string[] {
  const statements = /^(?:import|export)\s[^;]*?from '([^']+)'|^import '([^']+)'|\bimport\('([^']+)'\)/gm;
  return [...text.matchAll(statements)].map((match) => (match[1] ?? match[2] ?? match[3]) as string);
}

const sources: SourceFile[] = globSync('packages/*/{src,test}/**/*.ts', { cwd: root }).map((path) => ({
  path,
  package: path.split('/')[1] as string,
  isTest: /\.(test|fixture)\.ts$|^packages\/[^/]+\/test\//.test(path),
  imports: importsOf(readFileSync(join(root, path), 'utf8')),
}));

const packageOf = (specifier: string) => (specifier === 'culvert' ? 'cli' : /^@culvert\/([^/]+)/.exec(specifier)?.[1]);

describe('imports', () => {
  it('see every package', () => {
    expect(new Set(sources.map((source) => source.package))).toEqual(new Set(allowedImports().keys()));
  });

  it('point one way between packages', () => {
    const allowed = allowedImports();
    const wrong = sources.flatMap((source) =>
      source.imports
        .map(packageOf)
        .filter((name) => name !== undefined)
        .filter((name) => !allowed.get(source.package)?.has(name))
        // Tests may import every package by its public name, including their own package.
        .filter(() => !source.isTest)
        .map((name) => `${source.path} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  it('of packages are declared in their package.json', () => {
    const declared = new Map<string, Set<string>>();
    for (const path of globSync('packages/*/package.json', { cwd: root })) {
      const { dependencies = {} } = JSON.parse(readFileSync(join(root, path), 'utf8')) as { dependencies?: object };
      declared.set(path.split('/')[1] as string, new Set(Object.keys(dependencies)));
    }
    const wrong = sources
      .filter((source) => !source.isTest)
      .flatMap((source) =>
        source.imports
          .filter((specifier) => !specifier.startsWith('.') && !specifier.startsWith('node:'))
          .map((specifier) =>
            specifier
              .split('/')
              .slice(0, specifier.startsWith('@') ? 2 : 1)
              .join('/'),
          )
          .filter(
            (name) => !declared.get(source.package)?.has(name) && !(source.package === 'testkit' && name === 'vitest'),
          )
          .map((name) => `${source.path} imports ${name}`),
      );
    expect(wrong).toEqual([]);
  });

  it('point left between the folders of the hub', () => {
    const order = block('hub-order').split(/\s+/);
    const folder = (path: string) => path.split('/')[3] as string;
    const wrong = sources
      .filter((source) => source.package === 'hub' && !source.isTest && source.path.split('/').length > 4)
      .flatMap((source) =>
        source.imports
          .filter((specifier) => specifier.startsWith('.'))
          .map((specifier) => relative(root, resolve(root, dirname(source.path), specifier)))
          .filter(
            (target) =>
              order.indexOf(folder(target)) > order.indexOf(folder(source.path)) || order.indexOf(folder(target)) < 0,
          )
          .map((target) => `${source.path} imports ${target}`),
      );
    expect(wrong).toEqual([]);
    expect(
      new Set(sources.filter((s) => s.package === 'hub' && s.path.split('/').length > 4).map((s) => folder(s.path))),
    ).toEqual(new Set(order));
  });

  it('never go in a circle, and never through the package’s own index', () => {
    const graph = new Map(
      sources
        .filter((source) => !source.isTest)
        .map((source) => [
          source.path,
          source.imports
            .filter((specifier) => specifier.startsWith('.'))
            .map((specifier) => relative(root, resolve(root, dirname(source.path), specifier))),
        ]),
    );
    const circles: string[] = [];
    const done = new Set<string>();
    const visit = (path: string, trail: string[]): void => {
      if (trail.includes(path)) circles.push([...trail.slice(trail.indexOf(path)), path].join(' > '));
      if (done.has(path) || trail.includes(path)) return;
      for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
      done.add(path);
    };
    for (const path of graph.keys()) visit(path, []);
    expect(circles).toEqual([]);
    const throughIndex = [...graph].flatMap(([path, targets]) =>
      targets
        .filter((target) => /^packages\/[^/]+\/src\/index\.ts$/.test(target))
        .map((target) => `${path} imports ${target}`),
    );
    expect(throughIndex).toEqual([]);
  });
});
