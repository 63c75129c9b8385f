import type { BenchResult, MetricResult, PeerResult, ScenarioResult } from './result.ts';

const MB = 1e6;
const ABSENT = '–';

/** The result as Markdown: for each scenario a table of the figures and one of the processes, readable as plain text too. */
export function renderTable(result: BenchResult): string {
  const { machine, options } = result;
  const head =
    `${result.startedAt}, ${machine.processor}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node}, load ${machine.load.toFixed(1)} at the start. ` +
    `Median (smallest–largest) of ${options.rounds} rounds; × is the ratio to the peer named above each table, the median of the rounds' ratios.`;
  const missing = result.missing.map(({ peer, reason }) => `Not measured: ${peer}: ${reason}.`);
  const versions = new Map(result.scenarios.flatMap(({ peers }) => peers.map(({ name, version }) => [name, version])));
  const named = [...versions].map(([name, version]) => `- ${name}: ${version || 'did not start'}`).join('\n');
  return `${[head, ...missing, named, ...result.scenarios.flatMap(renderScenario)].join('\n\n')}\n`;
}

function renderScenario(scenario: ScenarioResult): string[] {
  const figures = scenario.peers.map((peer) => [
    peer.name,
    ...scenario.metrics.map((metric) => figure(peer.metrics[metric.name])),
  ]);
  const processes = scenario.peers.flatMap((peer) =>
    peer.processes.map((process) => [
      peer.name,
      process.peakBytes === undefined ? `(${process.role})` : process.role,
      peer.work > 0 ? significant((process.cpuSeconds / peer.work) * perWork(scenario)) : ABSENT,
      process.peakBytes === undefined ? ABSENT : (process.peakBytes / MB).toFixed(0),
    ]),
  );
  const failures = scenario.peers.flatMap((peer) =>
    peer.failures.map(({ when, message }) => `Failed: ${peer.name}, ${when}: ${message}`),
  );
  const columns = ['peer', ...scenario.metrics.map((metric) => `${metric.name}, ${metric.unit}`)];
  const costUnit = `${perWork(scenario) === 1 ? 's' : 'ms'}/${scenario.workUnit}`;
  const sections = [
    `## ${scenario.name}`,
    `${scenario.title}. Ratios to ${scenario.baseline}. Other programs used ${scenario.othersProcessors.toFixed(2)} processors meanwhile.`,
    markdown(columns, figures),
  ];
  if (processes.length > 0) sections.push(markdown(['peer', 'process', `CPU, ${costUnit}`, 'peak, MB'], processes));
  return [...sections, ...failures];
}

/** Seconds of processor time are told per gigabyte, milliseconds per anything smaller. */
const perWork = (scenario: ScenarioResult): number => (scenario.workUnit === 'GB' ? 1 : 1000);

function figure(metric: MetricResult | undefined): string {
  if (metric === undefined) return ABSENT;
  const ratio = metric.ratio === undefined ? '' : ` ×${significant(metric.ratio)}`;
  return `${significant(metric.median)} (${significant(metric.min)}–${significant(metric.max)})${ratio}`;
}

/** Three digits that mean something, without an exponent. */
export function significant(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return '0';
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(size)));
  return value.toFixed(Math.min(decimals, 6));
}

/** A Markdown table, padded so that it reads well without being rendered: names to the left, figures to the right. */
export function markdown(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const isText = (column: number): boolean => rows.every((row) => !/^[\d–-]/.test(row[column] ?? ''));
  const width = columns.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const pad = (text: string, column: number): string =>
    isText(column) ? text.padEnd(width[column] ?? 0) : text.padStart(width[column] ?? 0);
  const line = (cells: readonly string[]): string => `| ${cells.map(pad).join(' | ')} |`;
  const rule = width.map((size, column) => (isText(column) ? '-'.repeat(size) : `${'-'.repeat(size - 1)}:`));
  return [line(columns), `| ${rule.join(' | ')} |`, ...rows.map(line)].join('\n');
}

/** Whether everything that was asked for was measured, in every round. */
export function isComplete(result: BenchResult): boolean {
  const failed = (peer: PeerResult): boolean => peer.failures.length > 0;
  return result.missing.length === 0 && !result.scenarios.some((scenario) => scenario.peers.some(failed));
}
