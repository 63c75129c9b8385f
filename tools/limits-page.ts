import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { configSchema } from '../packages/hub/src/config/config.ts';

// Generates docs/limits.md from the doc comments of the constants in the code: `node tools/limits-page.ts --write`.

const root = resolve(import.meta.dirname, '..');
export const PAGE = join(root, 'docs/limits.md');

/** One limit: its file and name, its value as written in the code, and its meaning with unit and reason. */
interface Limit {
  readonly file: string;
  readonly name: string;
  readonly value: string;
  readonly meaning: string;
}

/** Packages in the order of the page. Limits of tests, benchmarks and the testkit are left out, because they do not affect users. */
const PACKAGES = ['protocol', 'stream', 'session', 'gateway', 'hub', 'device', 'service', 'proxy', 'cli'];

const NUMBER = String.raw`-?(?:0x)?[0-9][0-9_a-f]*(?:\.[0-9]+)?(?: ?\*\*? ?[0-9A-Z_]+)*`;
/** `const MAX_THINGS = 5;` or `const WAIT_MS = 10 * MINUTE_MS;` */
const CONSTANT = new RegExp(String.raw`^(?:export )?const ([A-Z][A-Z0-9_]*)(?:: \w+)? = (${NUMBER}|[0-9A-Z_ *]+);$`);
/** `handshakeMs: 60_000,` in an object of limits. */
const PROPERTY = new RegExp(String.raw`^\s+(\w+): (${NUMBER}),$`);
/** Matches doc comments of limits by their first words. */
const LIMIT_COMMENT =
  /^(?:The (?:most|longest|least|largest) |Up to |At most |Maximum |Minimum |Milliseconds|Seconds|Bytes|Characters|Days|Records|Calls|Files|Pages|Threads|Milliseconds’|Intervals|Consecutive intervals)/;
const LIMIT_NAME = /(?:^|_)(?:MS|BYTES|SECONDS|DAYS|MAX|LIMIT|ROWS|MINUTES|CHARACTERS)(?:_|$)|^MAX_/;

/** Returns the doc comment that ends on the line before `index`, as one line; undefined if there is none. */
function commentAbove(lines: readonly string[], index: number): string | undefined {
  let at = index - 1;
  const single = /^\s*\/\*\* (.*) \*\/$/.exec(lines[at] ?? '');
  if (single?.[1] !== undefined) return single[1];
  if (!/^\s*\*\/$/.test(lines[at] ?? '')) return undefined;
  const text: string[] = [];
  for (at--; at >= 0 && !/^\s*\/\*\*/.test(lines[at] as string); at--) {
    text.unshift((lines[at] as string).replace(/^\s*\* ?/, ''));
  }
  return text.join(' ');
}

function limitsOf(path: string): Limit[] {
  const lines = readFileSync(join(root, path), 'utf8').split('\n');
  const file = path.replace(/^packages\//, '').replace('/src/', '/');
  const found: Limit[] = [];
  let inLimits = false;
  lines.forEach((line, index) => {
    if (/^(?:export )?const \w*(?:LIMITS|DEFAULTS)\w*(?:: [^=]+)? = \{$/.test(line)) inLimits = true;
    if (/^\}/.test(line)) inLimits = false;
    const meaning = commentAbove(lines, index);
    const constant = CONSTANT.exec(line);
    if (constant !== null) {
      const [, name = '', value = ''] = constant;
      if (meaning === undefined || !(LIMIT_COMMENT.test(meaning) || LIMIT_NAME.test(name))) return;
      found.push({ file, name, value, meaning });
      return;
    }
    const [, name, value] = (inLimits ? PROPERTY.exec(line) : null) ?? [];
    if (name !== undefined && value !== undefined && meaning !== undefined) found.push({ file, name, value, meaning });
  });
  return found;
}

/** The parts of a JSON schema that this generator reads. */
interface Schema {
  readonly type?: string | readonly string[];
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}

/** Yields every numeric setting of the configuration with its path, such as `limits.streams`. */
function* numbersOf(schema: Schema, path: readonly string[] = []): Generator<[readonly string[], Schema]> {
  const isNumber = (one: Schema) => one.type === 'integer' || one.type === 'number';
  if (isNumber(schema)) yield [path, schema];
  else if (schema.anyOf?.every(isNumber) === true) {
    const [, range = {}] = schema.anyOf;
    yield [path, { ...range, default: schema.default }];
  } else {
    for (const part of [schema, ...(schema.anyOf ?? []), ...(schema.items ? [schema.items] : [])]) {
      for (const [key, inner] of Object.entries(part.properties ?? {})) yield* numbersOf(inner, [...path, key]);
      if (part !== schema) yield* numbersOf({ ...part, properties: {} }, path);
    }
  }
}

const configFiles = globSync(['packages/hub/src/config/*.ts', 'packages/hub/src/*config.ts'], { cwd: root })
  .filter((path) => !path.endsWith('.test.ts'))
  .map((path) => ({ path, lines: readFileSync(join(root, path), 'utf8').split('\n') }));

/** Returns the doc comment of a key. If several keys have the same name, prefers the key in the schema of the section, then in its file. */
function meaningOf(path: readonly string[]): string {
  const key = path.at(-1) as string;
  const section = path.length > 1 ? (path[0] as string) : '';
  const all = configFiles.flatMap(({ path: file, lines }) => {
    const start = Math.max(
      0,
      lines.findIndex((line) => line.includes(`const ${section}ConfigSchema`)),
    );
    return lines.flatMap((line, index) =>
      new RegExp(`^\\s+${key}:`).test(line) && commentAbove(lines, index) !== undefined
        ? [
            {
              own: file.includes(`/${section}-config`) || start > 0,
              after: index >= start,
              text: commentAbove(lines, index),
            },
          ]
        : [],
    );
  });
  const best = all.find(({ own, after }) => own && after) ?? all.filter(({ own }) => own).at(-1) ?? all[0];
  return best?.text ?? '';
}

function settingsTable(): string {
  const schema = configSchema.toJSONSchema({ io: 'input' }) as Schema;
  const shown = (value: unknown) => (typeof value === 'number' ? value.toLocaleString('en-US') : 'none');
  const rows = [...numbersOf(schema)].map(([path, one]) => {
    const most = one.maximum === Number.MAX_SAFE_INTEGER ? '…' : shown(one.maximum);
    return `| \`${path.join('.')}\` | ${shown(one.default)} | ${shown(one.minimum)} to ${most} | ${cell(meaningOf(path))} |`;
  });
  return ['| key | default | range | meaning |', '| --- | --- | --- | --- |', ...new Set(rows)].join('\n');
}

const cell = (text: string) => text.replaceAll('|', '\\|').replace(/\{@link ([\w.]+)\}/g, '`$1`');

function table(limits: readonly Limit[]): string {
  const rows = limits.map(
    ({ file, name, value, meaning }) => `| \`${name}\` | ${value} | ${cell(meaning)} | ${file} |`,
  );
  return ['| limit | value | meaning | in |', '| --- | --- | --- | --- |', ...rows].join('\n');
}

/** Returns the text of the whole page. */
export function limitsPage(): string {
  const sections = PACKAGES.map((name) => {
    const paths = globSync(`packages/${name}/src/**/*.ts`, { cwd: root })
      .filter((path) => !/\.(test|fixture)\.ts$/.test(path))
      .sort();
    return { name, limits: paths.flatMap(limitsOf) };
  });
  return [
    '# Limits',
    '',
    'Every limit, with its unit and its reason, as it stands beside the number in the code. Made by `node tools/limits-page.ts --write`; a test compares it.',
    'What the limits on streams do when they are reached is in [limits on streams](operating/limits.md).',
    '',
    '## Settings of the hub',
    '',
    'Numbers in the configuration of `culvert hub`.',
    '',
    settingsTable(),
    ...sections
      .filter(({ limits }) => limits.length > 0)
      .flatMap(({ name, limits }) => ['', `## Fixed, in \`${name}\``, '', table(limits)]),
    '',
  ].join('\n');
}

if (process.argv.includes('--write')) writeFileSync(PAGE, limitsPage());
