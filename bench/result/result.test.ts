import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Measurement, Metric } from '../scenarios/scenario.ts';
import { type BenchResult, RESULT_VERSION } from './result.ts';
import { summarise } from './summary.ts';
import { renderSvg } from './svg.ts';
import { isComplete, markdown, renderTable, significant } from './table.ts';

const metrics: readonly Metric[] = [
  { name: 'p50', unit: 'µs', better: 'lower' },
  { name: 'added p50', unit: 'µs', better: 'lower', addedTo: 'p50' },
];
const round = (p50: number): Measurement => ({ values: { p50 }, work: 5 });
const plain = [round(100), round(200), round(300)];
const tunnel = [round(500), null, round(900)];

const result: BenchResult = {
  version: RESULT_VERSION,
  startedAt: '2026-11-23T10:00:00.000Z',
  machine: { platform: 'Linux 6.1', processor: 'CPU', cores: 2, memoryBytes: 1e9, load: 0.5, node: '24.21.0' },
  options: { rounds: 3, bytes: 1000, devices: [10], baseline: 'plain-tcp' },
  scenarios: [
    {
      name: 'round-trip',
      title: 'there and back',
      baseline: 'plain-tcp',
      workUnit: 'GB',
      othersProcessors: 0.25,
      metrics,
      peers: [
        {
          name: 'tunnel',
          version: 'tunnel 1.2',
          metrics: summarise(metrics, tunnel, plain, plain),
          work: 10,
          processes: [
            { role: 'middle', cpuSeconds: 25, peakBytes: 64e6 },
            { role: 'driver', cpuSeconds: 1 },
          ],
          failures: [{ when: 'round 2', message: 'wrong bytes' }],
        },
      ],
    },
  ],
  missing: [{ peer: 'other', reason: 'otherd not found' }],
};
const [scenario] = result.scenarios;
const unmeasured: BenchResult = {
  ...result,
  missing: [],
  scenarios: scenario === undefined ? [] : [{ ...scenario, peers: [], notMeasured: 'no device to drop packets with' }],
};

/** Returns the path of every value, with elements as `[]` and the keys of a peer's `metrics` as `*`. */
function paths(value: unknown, path: string): string[] {
  if (Array.isArray(value)) return value.flatMap((element) => paths(element, `${path}[]`));
  if (typeof value !== 'object' || value === null) return [path];
  const isMap = path.endsWith('peers[].metrics');
  return Object.entries(value).flatMap(([key, inner]) =>
    paths(inner, [path, isMap ? '*' : key].filter(Boolean).join('.')),
  );
}

describe('the JSON', () => {
  it('has the fields that the README describes, all of them and no others', () => {
    const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8');
    const described = [...readme.slice(readme.indexOf('## The JSON')).matchAll(/^\| `([^`]+)`/gm)].map(
      ([, path]) => path,
    );
    const written = [result, unmeasured].flatMap((one) => paths(JSON.parse(JSON.stringify(one)), ''));
    expect(new Set(written)).toEqual(new Set(described));
  });
});

describe('the drawing', () => {
  it('has a bar for each peer and metric that was measured', () => {
    const svg = scenario === undefined ? '' : renderSvg(scenario);
    expect(svg.match(/<rect class=/g)?.length).toBe(2);
    expect(svg).toContain('>µs, lower is better<');
    expect(svg).toContain('>p50<');
    expect(svg).toContain('prefers-color-scheme:dark');
    expect(svg).toContain('>700<');
    expect(svg.trimEnd().endsWith('</svg>')).toBe(true);
  });
});

describe('the summary of a peer', () => {
  it('has the spread of its rounds, and the ratio round by round', () => {
    expect(summarise(metrics, tunnel, plain, plain)['p50']).toEqual({
      median: 700,
      min: 500,
      max: 900,
      ratio: 4,
      values: [500, null, 900],
    });
  });

  it('derives what is added to the plain connection of the same round', () => {
    expect(summarise(metrics, tunnel, plain, undefined)['added p50']).toEqual({
      median: 500,
      min: 400,
      max: 600,
      values: [400, null, 600],
    });
  });

  it('leaves out what cannot be told', () => {
    expect(Object.keys(summarise(metrics, plain, plain, undefined))).toEqual(['p50']);
    expect(Object.keys(summarise(metrics, tunnel, undefined, undefined))).toEqual(['p50']);
    expect(summarise(metrics, [null, null], plain, plain)).toEqual({});
  });
});

describe('the table', () => {
  it('tells figures, costs, failures and what is missing', () => {
    const text = renderTable(result);
    expect(text).toContain('| tunnel | 700 (500–900) ×4.00 |');
    expect(text).toMatch(/\| tunnel \| middle +\| +2\.50 \| +64 \|/);
    expect(text).toMatch(/\| tunnel \| \(driver\) +\| +0\.100 \| +– \|/);
    expect(text).toContain('Failed: tunnel, round 2: wrong bytes');
    expect(text).toContain('Not measured: other: otherd not found.');
    expect(text).toContain('0.25 processors');
  });

  it('says why a scenario was not measured', () => {
    expect(renderTable(unmeasured)).toContain('there and back. Not measured: no device to drop packets with.');
    expect(isComplete(unmeasured)).toBe(false);
  });

  it('of many figures has a line for each, and links to the drawing when it goes into a page', () => {
    const many = Array.from({ length: 6 }, (_, index): Metric => ({ name: `m${index}`, unit: 's', better: 'lower' }));
    const [peer] = scenario?.peers ?? [];
    const metrics = summarise(many, [{ values: { m0: 1, m5: 6 }, work: 1 }], undefined, undefined);
    const wide = {
      ...result,
      scenarios: scenario && peer ? [{ ...scenario, metrics: many, peers: [{ ...peer, metrics }] }] : [],
    };
    const text = renderTable(wide, { level: 3, drawings: 'performance' });
    expect(text).toContain('| m5, s  | 6.00 (6.00–6.00) |');
    expect(text).toContain('| m1, s  |                – |');
    expect(text).toContain('### round-trip');
    expect(text).toContain('![round-trip](performance/round-trip.svg)');
  });

  it('aligns names to the left and figures to the right', () => {
    expect(
      markdown(
        ['name', 'µs'],
        [
          ['a', '1000'],
          ['long-one', '–'],
        ],
      ),
    ).toBe(['| name     |   µs |', '| -------- | ---: |', '| a        | 1000 |', '| long-one |    – |'].join('\n'));
  });

  it.each([
    [0, '0'],
    [0.0123, '0.0123'],
    [1, '1.00'],
    [12.34, '12.3'],
    [1234.5, '1235'],
    [-0.5, '-0.500'],
  ])('writes %d as %s', (value, text) => {
    expect(significant(value)).toBe(text);
  });
});

describe('a run is complete', () => {
  it('only when nothing is missing and nothing failed', () => {
    expect(isComplete(result)).toBe(false);
    expect(isComplete({ ...result, missing: [] })).toBe(false);
    expect(isComplete({ ...result, scenarios: [] })).toBe(false);
    expect(isComplete({ ...result, scenarios: [], missing: [] })).toBe(true);
  });
});
