import type { Metric } from '../scenarios/scenario.ts';
import type { MetricResult, ScenarioResult } from './result.ts';
import { significant } from './table.ts';
import { ticks } from './ticks.ts';

/** Units of the drawing, about the size of a page's pixels. */
const WIDTH = 860;
const MARGIN = 16;
const COLUMNS = 2;
const PANEL_WIDTH = (WIDTH - MARGIN * (COLUMNS + 1)) / COLUMNS;
const NAME_WIDTH = 112;
/** Space for the figure at the end of the longest bar. */
const VALUE_WIDTH = 52;
const BAR = 13;
const ROW = 19;
const HEAD = 44;
const PANEL_HEAD = 24;
const AXIS = 34;

/** Colours for light and for dark pages, each with its own background, so that the drawing is readable on any page. */
const STYLE = `<style>
:root{--ground:#fff;--ink:#1f2328;--soft:#59636e;--line:#d1d9e0;--ours:#0b6e4f;--other:#9aa4af}
@media(prefers-color-scheme:dark){:root{--ground:#0d1117;--ink:#e6edf3;--soft:#9198a1;--line:#30363d;--ours:#3fb68b;--other:#6e7681}}
text{font:12px system-ui,sans-serif;fill:var(--ink)}.title{font-size:15px;font-weight:600}.panel{font-weight:600}.soft{fill:var(--soft);font-size:11px}
.end{text-anchor:end}.middle{text-anchor:middle}.ours{font-weight:600}rect.ours{fill:var(--ours)}rect.other{fill:var(--other)}
.grid{stroke:var(--line)}.spread{stroke:var(--ink);stroke-width:1.2}
</style>`;

/** Names of Culvert's own peers, which are drawn in their own colour. */
const OURS = /^(culvert|session)/;

interface Row extends MetricResult {
  readonly name: string;
}

/** Draws one scenario: for each metric the peers' medians as bars, with a line from the smallest to the largest round. */
export function renderSvg(scenario: ScenarioResult): string {
  const panels = scenario.metrics.flatMap((metric) => {
    const rows = scenario.peers.flatMap((peer): Row[] => {
      const figures = peer.metrics[metric.name];
      return figures === undefined ? [] : [{ name: peer.name, ...figures }];
    });
    return rows.length === 0 ? [] : [{ metric, rows }];
  });
  const parts: string[] = [];
  let y = HEAD;
  for (let at = 0; at < panels.length; at += COLUMNS) {
    const line = panels.slice(at, at + COLUMNS);
    for (const [column, { metric, rows }] of line.entries()) {
      parts.push(...panel(MARGIN + column * (PANEL_WIDTH + MARGIN), y, metric, rows));
    }
    y += PANEL_HEAD + Math.max(...line.map(({ rows }) => rows.length)) * ROW + AXIS;
  }
  if (panels.length === 0) parts.push(text(MARGIN, y + BAR, scenario.notMeasured ?? 'not measured', 'soft'));
  const height = y + (panels.length === 0 ? ROW * 2 : MARGIN / 2);
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">`;
  const title = `<title>${escaped(`${scenario.name}: ${scenario.title}`)}</title>`;
  const ground = `<rect width="${WIDTH}" height="${height}" rx="8" fill="var(--ground)"/>`;
  return `${[head, title, STYLE, ground, text(MARGIN, 26, scenario.name, 'title'), ...parts, '</svg>'].join('\n')}\n`;
}

function panel(left: number, top: number, { name, unit, better }: Metric, rows: readonly Row[]): string[] {
  const origin = left + NAME_WIDTH;
  const room = PANEL_WIDTH - NAME_WIDTH - VALUE_WIDTH;
  const marks = ticks(Math.max(0, ...rows.map(({ max }) => max)));
  const most = marks.at(-1) ?? 1;
  const scale = (value: number): number => round(origin + (Math.min(Math.max(value, 0), most) / most) * room);
  const bottom = top + PANEL_HEAD + rows.length * ROW;
  const parts = [text(left, top + BAR, name, 'panel')];
  for (const mark of marks) {
    const x = scale(mark);
    parts.push(
      `<line class="grid" x1="${x}" x2="${x}" y1="${top + PANEL_HEAD - 4}" y2="${bottom}"/>`,
      text(x, bottom + 12, String(mark), 'soft middle'),
    );
  }
  parts.push(
    text(
      round(origin + room / 2),
      bottom + 25,
      `${unit === '/s' ? 'per second' : unit}, ${better} is better`,
      'soft middle',
    ),
  );
  for (const [index, row] of rows.entries()) {
    const y = top + PANEL_HEAD + index * ROW;
    const whose = OURS.test(row.name) ? 'ours' : 'other';
    const middle = y + BAR / 2;
    parts.push(
      text(origin - 7, y + BAR - 2, row.name, `end ${whose}`),
      `<rect class="${whose}" x="${origin}" y="${y}" width="${round(scale(row.median) - origin)}" height="${BAR}" rx="2"/>`,
      `<line class="spread" x1="${scale(row.min)}" x2="${scale(row.max)}" y1="${middle}" y2="${middle}"/>`,
      text(scale(row.max) + 5, y + BAR - 2, significant(row.median), whose),
    );
  }
  return parts;
}

function text(x: number, y: number, content: string, classes: string): string {
  return `<text x="${x}" y="${y}" class="${classes}">${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
