import type { BenchResult, MetricResult, PeerResult, ScenarioResult } from './result.ts';

const MB = 1e6;
const ABSENT = '–';

/** The layout of the result. */
export interface Layout {
  /** Level of the scenarios' headings: 2 for a separate page, 3 inside a page. */
  readonly level: 2 | 3;
  /** The directory of the drawings, as a page links to it; when absent, there are no links. */
  readonly drawings?: string;
}

/** Maximum number of metrics that are columns of one table; with more, each metric is a row and each peer a column. */
const MOST_COLUMNS = 5;

/** Renders the result as Markdown: for each scenario a table of the figures and one of the processes, readable as plain text too. */
export function renderTable(result: BenchResult, layout: Layout = { level: 2 }): string {
  const { machine, options } = result;
  const head =
    `${result.startedAt}, ${machine.processor}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node}, load ${machine.load.toFixed(1)} at the start. ` +
    `Median (smallest–largest) of the rounds, ${options.rounds} or as many as there was time for; × is the ratio to the peer named above each table, the median of the rounds' ratios.`;
  const missing = result.missing.map(({ peer, reason }) => `- Not measured: ${peer}: ${sentence(reason)}`);
  const versions = new Map(result.scenarios.flatMap(({ peers }) => peers.map(({ name, version }) => [name, version])));
  const named = [...versions].map(([name, version]) => `- ${name}: ${version || 'did not start'}`);
  const scenarios = result.scenarios.flatMap((scenario) => renderScenario(scenario, layout));
  return `${[head, [...named, ...missing].join('\n'), ...scenarios].join('\n\n')}\n`;
}

function renderScenario(scenario: ScenarioResult, { level, drawings }: Layout): string[] {
  const heading = `${'#'.repeat(level)} ${scenario.name}`;
  if (scenario.notMeasured !== undefined)
    return [heading, `${scenario.title}. Not measured: ${sentence(scenario.notMeasured)}`];
  const rounds = Math.max(0, ...scenario.peers.flatMap(({ metrics }) => Object.values(metrics).map(valuesOf)));
  const others = `${rounds} ${rounds === 1 ? 'round' : 'rounds'}; other programs used ${scenario.othersProcessors.toFixed(2)} processors meanwhile`;
  const failures = scenario.peers.flatMap((peer) =>
    peer.failures.map(({ when, message }) => `Failed: ${peer.name}, ${when}: ${message.split('\n')[0]}`),
  );
  const sections = [heading, `${scenario.title}. Ratios to ${scenario.baseline}. ${others}.`, figuresOf(scenario)];
  if (drawings !== undefined) sections.push(`![${scenario.name}](${drawings}/${scenario.name}.svg)`);
  const processes = processesOf(scenario);
  return processes === undefined ? [...sections, ...failures] : [...sections, processes, ...failures];
}

/** Ensures exactly one full stop at the end of a program's message. */
const sentence = (text: string): string => `${text.replace(/\.+$/, '')}.`;

const valuesOf = ({ values }: MetricResult): number => values.length;

function figuresOf({ metrics, peers }: ScenarioResult): string {
  const titles = metrics.map((metric) => `${metric.name}, ${metric.unit}`);
  const rows = peers.map((peer) => metrics.map((metric) => figure(peer.metrics[metric.name])));
  const names = peers.map(({ name }) => name);
  return metrics.length <= MOST_COLUMNS
    ? markdown(
        ['peer', ...titles],
        rows.map((row, index) => [names[index] ?? '', ...row]),
      )
    : markdown(
        ['figure', ...names],
        titles.map((title, index) => [title, ...rows.map((row) => row[index] ?? ABSENT)]),
      );
}

function processesOf(scenario: ScenarioResult): string | undefined {
  const rows = scenario.peers.flatMap((peer) =>
    peer.processes.map((process) => [
      peer.name,
      process.peakBytes === undefined ? `(${process.role})` : process.role,
      peer.work > 0 ? significant((process.cpuSeconds / peer.work) * perWork(scenario)) : ABSENT,
      process.peakBytes === undefined ? ABSENT : (process.peakBytes / MB).toFixed(0),
    ]),
  );
  const unit = `${perWork(scenario) === 1 ? 's' : 'ms'}/${scenario.workUnit}`;
  return rows.length === 0 ? undefined : markdown(['peer', 'process', `CPU, ${unit}`, 'peak, MB'], rows);
}

/** Processor time is given in seconds per gigabyte, and in milliseconds per unit of any other work. */
const perWork = (scenario: ScenarioResult): number => (scenario.workUnit === 'GB' ? 1 : 1000);

function figure(metric: MetricResult | undefined): string {
  if (metric === undefined) return ABSENT;
  const ratio = metric.ratio === undefined ? '' : ` ×${significant(metric.ratio)}`;
  return `${significant(metric.median)} (${significant(metric.min)}–${significant(metric.max)})${ratio}`;
}

/** Formats a value with three significant digits, without an exponent. */
export function significant(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return '0';
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(size)));
  return value.toFixed(Math.min(decimals, 6));
}

/** Renders a Markdown table, padded to be readable without rendering: names aligned left, figures right. */
export function markdown(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const isText = (column: number): boolean => column === 0 || rows.every((row) => !/^[\d–-]/.test(row[column] ?? ''));
  const width = columns.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const pad = (text: string, column: number): string =>
    isText(column) ? text.padEnd(width[column] ?? 0) : text.padStart(width[column] ?? 0);
  const line = (cells: readonly string[]): string => `| ${cells.map(pad).join(' | ')} |`;
  const rule = width.map((size, column) => (isText(column) ? '-'.repeat(size) : `${'-'.repeat(size - 1)}:`));
  return [line(columns), `| ${rule.join(' | ')} |`, ...rows.map(line)].join('\n');
}

/** Whether everything that was requested was measured, in every round. */
export function isComplete(result: BenchResult): boolean {
  const failed = (peer: PeerResult): boolean => peer.failures.length > 0;
  const partly = ({ notMeasured, peers }: ScenarioResult): boolean => notMeasured !== undefined || peers.some(failed);
  return result.missing.length === 0 && !result.scenarios.some(partly);
}
