import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { printable } from '@culvert/protocol';
import { tell } from './messages.ts';

/** How a command shows its data. */
export type OutputFormat = 'json' | 'table';

/** Writes data to stdout, at the pace of whoever reads it. When it cannot be written the process ends, see {@link watchOutput}. */
export function writeOut(text: string): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(text, (error) => {
      if (!error) resolve();
    });
  });
}

/** One JSON value, indented, as one line for `lines`. */
export function writeJson(value: unknown): Promise<void> {
  return writeOut(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** A reader of stdout that has seen enough (`| head`) is no error; anything else is told in one line. Both end the process. */
function onOutputError(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(0);
  tell(
    `cannot write to standard output: ${error.code === 'ENOSPC' ? 'the disk is full' : (error.code ?? error.message)}`,
  );
  process.exit(1);
}

/** Settles for a whole process what happens when its output cannot be written. */
export function watchOutput(): void {
  process.stdout.on('error', onOutputError);
  // Messages that nobody reads any more (a log's reader was restarted) are no reason to end an agent and its streams.
  process.stderr.on('error', () => undefined);
}

/** For long-running commands: if nobody reads their output any more, or the disk is full, they say so once and go on. */
export function endlessOutput(): void {
  unwatchOutput();
  let told = false;
  process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    if (told) return;
    told = true;
    tell(
      `events cannot be written to standard output (${code ?? message}); what could not be written is lost, the rest goes on`,
    );
  });
}

/** Leaves stdout to a stream that is relayed over it: when its reader exits, what stdin has sent must still be delivered. */
export function unwatchOutput(): void {
  process.stdout.off('error', onOutputError);
}

/**
 * Standard output as a stream whose end its reader sees at once: `process.stdout` keeps a pipe open until the process exits, and who reads the
 * other end of it (ssh, of its proxy command) would wait for that.
 */
export function closableOutput(): Writable {
  const { stdout } = process;
  if (!(stdout instanceof Socket) || stdout.isTTY) return stdout;
  return new Socket({ fd: stdout.fd, readable: false, writable: true });
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
