import { once } from 'node:events';
import { printable } from '@culvert/protocol';

/** How a command shows its data. */
export type OutputFormat = 'json' | 'table';

/** Writes data to stdout, at the pace of whoever reads it. */
export async function writeOut(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}

/** One JSON value, indented, as one line for `lines`. */
export function writeJson(value: unknown): Promise<void> {
  return writeOut(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** A reader of stdout that has seen enough (`| head`) is no error. */
export function ignoreBrokenPipe(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
}

/** Rows under their headings, columns as wide as their widest cell. Cells are made harmless for a terminal. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [headings, ...rows].map((row) => row.map((cell) => printable(cell)));
  const widths = headings.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd();
  return `${all.map(line).join('\n')}\n`;
}

/** Names and values, one pair a line. */
export function pairs(entries: readonly (readonly [string, string])[]): string {
  const width = Math.max(...entries.map(([name]) => name.length));
  return entries.map(([name, value]) => `${name.padEnd(width)}  ${printable(value, 2_000)}\n`).join('');
}
