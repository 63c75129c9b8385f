import { markdown } from '../result/table.ts';
import { AMOUNTS, type Amounts } from './amounts.ts';
import { bytes } from './cases/sizes.ts';
import type { ConformanceResult, TunnelResult } from './result.ts';

const ABSENT = '–';

/** The result as Markdown, readable as plain text too: a line for each case, a column for each tunnel, then what each failure was. */
export function renderConformance(result: ConformanceResult): string {
  const { machine, tunnels, missing } = result;
  const rows = result.cases.map(({ id }) => [id, ...tunnels.map((tunnel) => cell(tunnel, id))]);
  const kept = tunnels.map(
    ({ verdicts }) => `${verdicts.filter(({ verdict }) => verdict === 'pass').length} of ${verdicts.length}`,
  );
  const sections = [
    `${result.startedAt}, ${machine.processor}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node}. ${amountsOf(result.amounts)}`,
    [
      ...tunnels.filter(({ version }) => version !== '').map(({ name, version }) => `- ${name}: ${version}`),
      ...missing.map(({ tunnel, reason }) => `- Not judged: ${tunnel}: ${reason}`),
      ...tunnels.flatMap(({ name, notJudged }) =>
        notJudged === undefined ? [] : [`- Not judged to the end: ${name}: ${notJudged}`],
      ),
    ].join('\n'),
    markdown(['case', ...tunnels.map(({ name }) => name)], [...rows, ['kept', ...kept]]),
    result.cases.map(({ id, promise }) => `- \`${id}\`: ${promise}`).join('\n'),
    ...tunnels.map(failuresOf),
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

/** The result as a page of docs/performance. */
export function renderPage(result: ConformanceResult): string {
  return `${PAGE_HEAD}\n\n${renderConformance(result)}`;
}

const PAGE_HEAD = `# What tunnels keep of what TCP promises

Made by \`npm run conformance -- --output page\`; do not edit. [The kit](../../bench/tcp-conformance/README.md) says what each case does, and [the bench](../../bench/README.md#peers) what each tunnel is:
of Culvert's, \`session-e2e\` is what users have, \`session\` the same without encryption between the two ends, and \`culvert-raw\` a stream for each connection. \`plain-tcp\` has nothing in between.`;

function cell({ verdicts }: TunnelResult, id: string): string {
  const verdict = verdicts.find((one) => one.id === id)?.verdict;
  return verdict === 'fail' ? '**fail**' : (verdict ?? ABSENT);
}

function failuresOf({ name, verdicts }: TunnelResult): string {
  const failed = verdicts.filter(({ verdict }) => verdict === 'fail');
  if (failed.length === 0) return '';
  return [`What failed through ${name}:`, '', ...failed.map(({ id, seen }) => `- \`${id}\`: ${seen}`)].join('\n');
}

/** Says which amounts differ from the usual ones: shortened waits judge less. */
function amountsOf(amounts: Amounts): string {
  const { idleMs, delayMs, waitMs, offeredBytes } = amounts;
  const changed = (Object.keys(AMOUNTS) as (keyof Amounts)[]).filter((key) => amounts[key] !== AMOUNTS[key]);
  const used = `Idle for ${seconds(idleMs)}, answers late by ${seconds(delayMs)}, nothing happening means for ${seconds(waitMs)}, ${bytes(offeredBytes)} offered to slow readers.`;
  const notes = changed.map((key) => `${key} ${amounts[key]} in place of ${AMOUNTS[key]}`);
  return notes.length === 0 ? used : `${used} Changed for this run: ${notes.join(', ')}.`;
}

const seconds = (milliseconds: number): string => `${milliseconds / 1000} s`;
