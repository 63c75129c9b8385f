import type { ScenarioResult } from './result.ts';
import { significant } from './table.ts';

const WIDTH = 760;
const LABEL_WIDTH = 150;
const VALUE_WIDTH = 110;
const BAR = 14;
const GAP = 4;
const TITLE = 26;

/** One scenario as a drawing: for each metric the peers' medians as bars, with a line from the smallest to the largest round. */
export function renderSvg(scenario: ScenarioResult): string {
  const parts: string[] = [];
  let y = TITLE;
  for (const metric of scenario.metrics) {
    const rows = scenario.peers.flatMap((peer) => {
      const figures = peer.metrics[metric.name];
      return figures === undefined ? [] : [{ name: peer.name, ...figures }];
    });
    if (rows.length === 0) continue;
    const most = Math.max(...rows.map(({ max }) => max), Number.MIN_VALUE);
    const scale = (value: number): number =>
      LABEL_WIDTH + (Math.max(value, 0) / most) * (WIDTH - LABEL_WIDTH - VALUE_WIDTH);
    parts.push(text(0, y + BAR, `${metric.name}, ${metric.unit}, ${metric.better} is better`, 'font-weight="bold"'));
    y += TITLE;
    for (const { name, median, min, max } of rows) {
      const middle = y + BAR / 2;
      const fill = name.startsWith('culvert') ? '#2563eb' : '#9ca3af';
      parts.push(
        text(LABEL_WIDTH - 8, y + BAR - 3, name, 'text-anchor="end"'),
        `<rect x="${LABEL_WIDTH}" y="${y}" width="${round(scale(median) - LABEL_WIDTH)}" height="${BAR}" fill="${fill}"/>`,
        `<line x1="${round(scale(min))}" x2="${round(scale(max))}" y1="${middle}" y2="${middle}" stroke="#111827"/>`,
        text(round(scale(max)) + 6, y + BAR - 3, significant(median)),
      );
      y += BAR + GAP;
    }
    y += GAP * 3;
  }
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" font-family="sans-serif" font-size="12">`;
  const ground = `<rect width="${WIDTH}" height="${y}" fill="white"/>`;
  return `${[head, ground, text(0, 16, scenario.name, 'font-size="15" font-weight="bold"'), ...parts, '</svg>'].join('\n')}\n`;
}

function text(x: number, y: number, content: string, attributes = ''): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x}" y="${y}" ${attributes}>${escaped}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
