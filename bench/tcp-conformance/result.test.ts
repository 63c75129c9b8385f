import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AMOUNTS } from './amounts.ts';
import { CASES } from './cases/index.ts';
import { allPass, CONFORMANCE_VERSION, type ConformanceResult } from './result.ts';
import { renderConformance } from './table.ts';

const README = readFileSync(join(import.meta.dirname, 'README.md'), 'utf8');

const result: ConformanceResult = {
  version: CONFORMANCE_VERSION,
  startedAt: '2026-11-23T10:00:00.000Z',
  machine: { platform: 'Linux 6.1', processor: 'CPU', cores: 2, memoryBytes: 1e9, load: 0.5, node: '24.21.0' },
  amounts: { ...AMOUNTS, idleMs: 5_000 },
  cases: [
    { id: 'refused', promise: 'A refusal is told.' },
    { id: 'idle', promise: 'Idle stays open.' },
  ],
  tunnels: [
    {
      name: 'good',
      version: 'good 1.2',
      verdicts: [
        { id: 'refused', verdict: 'pass', seen: 'ECONNREFUSED when connecting', seconds: 0.1 },
        { id: 'idle', verdict: 'pass', seen: '5 s', seconds: 5 },
      ],
    },
    {
      name: 'bad',
      version: 'bad 0.1',
      verdicts: [{ id: 'refused', verdict: 'fail', seen: 'client: a clean end', seconds: 0.1 }],
      notJudged: 'it fell over',
    },
  ],
  missing: [{ tunnel: 'absent', reason: 'absentd not found' }],
};

/** Every path to a value, elements as `[]`. */
function paths(value: unknown, path: string): string[] {
  if (Array.isArray(value)) return value.flatMap((element) => paths(element, `${path}[]`));
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([key, inner]) => paths(inner, [path, key].filter(Boolean).join('.')));
}

/** The first cells, in backquotes, of the table below a heading of the README. */
function described(heading: string): string[] {
  const section = README.split(/^## /m).find((part) => part.startsWith(heading)) ?? '';
  return [...section.matchAll(/^\| `([^`]+)`/gm)].map(([, cell = '']) => cell);
}

describe('README.md', () => {
  it('describes the fields of the JSON, all of them and no others', () => {
    expect(new Set(described('The JSON'))).toEqual(new Set(paths(JSON.parse(JSON.stringify(result)), '')));
  });

  it('lists the cases, in their order', () => {
    expect(described('Cases')).toEqual(CASES.map(({ id }) => id));
  });
});

describe('the result', () => {
  it('is good when every tunnel is there and keeps every promise', () => {
    const [good] = result.tunnels;
    const tunnels = good === undefined ? [] : [good];
    expect(allPass({ ...result, tunnels, missing: [] })).toBe(true);
    expect(allPass({ ...result, tunnels })).toBe(false);
    expect(allPass({ ...result, missing: [] })).toBe(false);
  });
});

describe('the table', () => {
  const text = renderConformance(result);

  it('has a line for each case and a column for each tunnel', () => {
    expect(text).toMatch(/\| refused +\| +pass +\| +\*\*fail\*\* +\|/);
    expect(text).toMatch(/\| idle +\| +pass +\| +– +\|/);
    expect(text).toMatch(/\| kept +\| +2 of 2 +\| +0 of 1 +\|/);
  });

  it('tells what failed, what is missing and what was shortened', () => {
    expect(text).toContain('What failed through bad:\n\n- `refused`: client: a clean end');
    expect(text).toContain('Not judged: absent: absentd not found');
    expect(text).toContain('Not judged to the end: bad: it fell over');
    expect(text).toContain('Changed for this run: idleMs 5000 in place of 600000.');
  });
});
