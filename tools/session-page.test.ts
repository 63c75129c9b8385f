import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CONNECTION_REASONS, FRAME, SESSION_REASONS, UNCOUNTED_BIT } from '../packages/session/src/core/frame.ts';

const page = readFileSync(join(resolve(import.meta.dirname, '..'), 'docs/protocol/10-session.md'), 'utf8');

/** The first two cells of each row of the tables under a heading. */
function rows(heading: string): string[][] {
  const section = page.split(/^#+ /m).find((text) => text.startsWith(`${heading}\n`)) ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.split('|').slice(1, 3));
}

const cells = (heading: string) =>
  rows(heading)
    .map(([first = '', second = '']) => [first.trim(), second.trim().replaceAll('`', '')] as const)
    .filter(([first]) => /^`?(0x)?\d/.test(first))
    .map(([first, second]) => [Number(first.replaceAll('`', '')), second]);

const frames = (isCounted: boolean) =>
  Object.entries(FRAME)
    .filter(([, type]) => ((type & UNCOUNTED_BIT) === 0) === isCounted)
    .map(([name, type]) => [type, name.toUpperCase()]);

const reasons = (table: Readonly<Record<string, number>>) =>
  Object.entries(table)
    .map(([name, number]) => [number, name] as const)
    .sort(([a], [b]) => a - b);

describe('docs/protocol/10-session.md', () => {
  it('has exactly the types of frames that there are, each in its table', () => {
    expect(cells('Counted frames')).toEqual(frames(true));
    expect(cells('Frames that are not counted')).toEqual(frames(false));
  });

  it('has exactly the reasons of connections, then those of sessions', () => {
    expect(cells('Reasons')).toEqual([...reasons(CONNECTION_REASONS), ...reasons(SESSION_REASONS)]);
  });
});
