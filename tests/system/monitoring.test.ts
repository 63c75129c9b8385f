import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { startHub } from '@culvert/testkit';
import { beforeAll, describe, expect, it } from 'vitest';

const deploy = resolve(import.meta.dirname, '../../deploy');
const rules = readFileSync(`${deploy}/prometheus/alerts.yml`, 'utf8');

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
  readonly panels?: readonly Panel[];
}

/** Runs Prometheus's own checker, promtool (Debian's package `prometheus`). */
function promtool(args: readonly string[], input?: string): { status: number | null; said: string } {
  const ran = spawnSync('promtool', args, { cwd: `${deploy}/prometheus`, encoding: 'utf8', ...(input && { input }) });
  return { status: ran.status, said: `${ran.error ?? ''}${ran.stdout}${ran.stderr}` };
}

let scrape: string;

beforeAll(async () => {
  const hub = await startHub();
  try {
    await hub.createDevice('press-7');
    await expect(hub.owner.openStream('press-7', { name: 'ssh', connectTimeoutMs: 0 })).rejects.toThrow();
    const { port } = hub.hub.adminAddress;
    scrape = await (await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { connection: 'close' } })).text();
  } finally {
    await hub.stop();
  }
});

/** Returns the names of the metrics in an expression or in one of Grafana's queries. */
const named = (text: string) => new Set(text.match(/\b(?:culvert|process|nodejs)_[a-z_]+\b/g));

/** Returns the metrics that the scrape declares, including those without a sample. */
function scraped(): Set<string> {
  const types = [...scrape.matchAll(/^# TYPE (\S+) (\S+)/gm)];
  return new Set(
    types.flatMap(([, name, type]) =>
      type === 'histogram' ? [name as string, `${name}_bucket`, `${name}_sum`, `${name}_count`] : [name as string],
    ),
  );
}

describe('deploy/prometheus/alerts.yml', () => {
  it('is taken by promtool', () => {
    expect(promtool(['check', 'rules', '--lint=all', '--lint-fatal', 'alerts.yml'])).toMatchObject({ status: 0 });
  });

  it('fires when it should and else does not, as alerts.test.yml says', () => {
    const { status, said } = promtool(['test', 'rules', 'alerts.test.yml']);
    expect(said).toContain('SUCCESS');
    expect(status).toBe(0);
  });

  it('names only metrics that a hub has', () => {
    expect(named(rules).size).toBeGreaterThan(10);
    expect([...named(rules)].filter((name) => !scraped().has(name))).toEqual([]);
  });
});

describe('/metrics of a real hub', () => {
  it('is what promtool takes and has nothing to say of', () => {
    expect(promtool(['check', 'metrics'], scrape)).toEqual({ status: 0, said: '' });
  });

  it('is documented, every metric of it and no other', () => {
    const page = readFileSync(resolve(deploy, '../docs/operating/metrics.md'), 'utf8');
    const documented = [...page.matchAll(/^\| `([a-z_]+)`/gm)].map(([, name]) => name as string);
    const types = [...scrape.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name as string);
    expect(documented.toSorted()).toEqual(types.toSorted());
  });
});

describe('deploy/grafana/culvert.json', () => {
  const dashboard = JSON.parse(readFileSync(`${deploy}/grafana/culvert.json`, 'utf8')) as {
    panels: readonly Panel[];
    templating: { list: readonly { query: string }[] };
  };
  const expressions = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

  it('names only metrics that a hub has', () => {
    const all = [...expressions, ...dashboard.templating.list.map(({ query }) => query)].join('\n');
    expect(named(all).size).toBeGreaterThan(20);
    expect([...named(all)].filter((name) => !scraped().has(name))).toEqual([]);
  });

  it('asks what Prometheus can answer', () => {
    const quote = (expr: string) =>
      JSON.stringify(expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*'));
    const recorded = expressions.map((expr, index) => `      - { record: "panel:${index}", expr: ${quote(expr)} }`);
    const group = ['groups:', '  - name: dashboard', '    rules:', ...recorded, ''].join('\n');
    const file = join(mkdtempSync(join(tmpdir(), 'culvert-rules-')), 'dashboard.yml');
    writeFileSync(file, group);
    expect(promtool(['check', 'rules', file])).toEqual({ status: 0, said: expect.stringContaining('SUCCESS') });
    rmSync(dirname(file), { recursive: true });
  });
});
