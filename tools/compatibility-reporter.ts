import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Reporter, TestCase, TestModule } from 'vitest/node';

/** The page with the table, and the marks before and after the table. */
const PAGE = join(resolve(import.meta.dirname, '..'), 'docs/migrating.md');
const BEGIN = '<!-- compatibility: written by the system tests -->\n';
const END = '<!-- end of compatibility -->';

/**
 * The test files in which each suite tests one client. The name of a suite is the client and how it connects; `client` is that name for tests
 * outside of a suite.
 */
const CLIENTS: readonly (readonly [file: string, client: string])[] = [
  ['azure-clients', 'clients of Azure, on the wire'],
  ['published-registry', 'azure-iothub, its Registry over HTTPS'],
  ['published-devices', 'azure-iot-device'],
  ['published-certificates', 'azure-iot-device with a certificate'],
  ['published-service', "Azure's proxy quickstart over azure-iothub's REST code and websocket-stream"],
  ['amqp-clients', 'rhea by SASL PLAIN, as a device and as a policy'],
  ['mqtt-clients', 'MQTT clients'],
];

/**
 * Compares the compatibility table of docs/migrating.md with the results of the system tests. The table has one row per client, with the number
 * of passed tests. If they differ, the run fails, or the table is written if `CULVERT_WRITE_COMPATIBILITY=1`. A run without all of the files and
 * all of their tests is not compared.
 */
export default class CompatibilityReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const shown = CLIENTS.map(([file]) =>
      modules.find(({ moduleId }) => moduleId.endsWith(`tests/system/${file}.test.ts`)),
    );
    const tests = shown.flatMap((module) => [...(module?.children.allTests() ?? [])]);
    if (shown.includes(undefined) || tests.some((test) => test.result().state === 'skipped')) return;
    const rows = shown.flatMap((module, index) =>
      module === undefined ? [] : rowsOf(module, CLIENTS[index]?.[1] ?? ''),
    );
    const table = `${['| who comes, and how | shown by tests |', '|---|---|', ...rows].join('\n')}\n`;
    const page = readFileSync(PAGE, 'utf8');
    const [start, end] = [page.indexOf(BEGIN) + BEGIN.length, page.indexOf(END)];
    if (page.slice(start, end) === table) return;
    if (process.env['CULVERT_WRITE_COMPATIBILITY'] === '1') {
      writeFileSync(PAGE, page.slice(0, start) + table + page.slice(end));
      return;
    }
    console.error(`The table of docs/migrating.md is not what the system tests have shown:\n${table}`);
    process.exitCode = 1;
  }
}

function rowsOf(module: TestModule, client: string): string[] {
  const alone = [...module.children.tests()];
  const suites = [...module.children.suites()];
  return [
    ...(alone.length === 0 ? [] : [row(client, alone)]),
    ...suites.map((suite) => row(suite.name, [...suite.children.allTests()])),
  ];
}

function row(client: string, tests: readonly TestCase[]): string {
  const passed = tests.filter((test) => test.result().state === 'passed').length;
  return `| ${client.replaceAll('|', '\\|')} | ${passed === tests.length ? passed : `${passed} of ${tests.length}`} |`;
}
