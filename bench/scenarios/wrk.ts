import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../processes/child.ts';
import { findProgram } from '../processes/programs.ts';
import type { Address } from '../traffic/connection.ts';
import { PAGE } from '../traffic/page.ts';
import { readWrkReport, type WrkReport } from '../traffic/wrk-report.ts';
import type { Measurement, Scenario } from './scenario.ts';

/** Numbers of connections, each with one request in progress, in ascending order. wrk opens all of them at once. */
const LOADS = [1, 8, 64, 128] as const;
const SECONDS = 4;
const WARM_UP_SECONDS = 1;
/** Seconds after which an answer counts as missing; at the start all connections are opened at once. */
const ANSWER_SECONDS = 30;

/** HTTP at increasing load, by a load generator from outside this repository. */
export const wrk: Scenario = {
  name: 'wrk',
  title: () =>
    `wrk, one thread, ${SECONDS} s at each load: a page of ${PAGE.length} bytes over connections that stay open, each page compared; opening them is in it`,
  family: 'tunnel',
  target: 'web-main.ts',
  missing: () => (findProgram('wrk') === undefined ? "wrk not found: install Debian's wrk" : undefined),
  metrics: () =>
    LOADS.flatMap((load) => [
      { name: `${load} at once`, unit: '/s', better: 'higher' as const },
      { name: `${load} at once, p50`, unit: 'ms', better: 'lower' as const },
      { name: `${load} at once, p99`, unit: 'ms', better: 'lower' as const },
      { name: `${load} at once, p99.9`, unit: 'ms', better: 'lower' as const },
    ]),
  workUnit: 'thousand requests',
  applies: () => true,
  warmUp: async ({ entry }) => {
    await load(entry, Math.max(...LOADS), WARM_UP_SECONDS);
  },
  async measure({ entry }): Promise<Measurement> {
    const values: Record<string, number> = {};
    let work = 0;
    for (const connections of LOADS) {
      const report = await load(entry, connections, SECONDS);
      values[`${connections} at once`] = report.perSecond;
      for (const name of ['p50', 'p99', 'p99.9'] as const) values[`${connections} at once, ${name}`] = report[name];
      work += report.requests / 1000;
    }
    return { values, work };
  },
};

async function load({ host, port }: Address, connections: number, seconds: number): Promise<WrkReport> {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-wrk-'));
  try {
    const page = join(directory, 'page');
    writeFileSync(page, PAGE);
    const script = join(import.meta.dirname, '../traffic/wrk-check.lua');
    const how = [
      '-t',
      '1',
      '-c',
      String(connections),
      '-d',
      `${seconds}s`,
      '--timeout',
      `${ANSWER_SECONDS}s`,
      '-s',
      script,
    ];
    const args = [...how, `http://${host}:${port}/`, '--', page];
    return readWrkReport(await run({ command: 'wrk', args }));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
