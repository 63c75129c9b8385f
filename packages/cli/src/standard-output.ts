import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { printable } from '@culvert/protocol';
import { tell } from './messages.ts';

/** The format in which a command prints its data. */
export type OutputFormat = 'json' | 'table';

/** Writes data to stdout, no faster than its reader reads. If writing fails, the process ends, see {@link watchOutput}. */
export function writeOut(text: string): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(text, (error) => {
      if (!error) resolve();
    });
  });
}

/** Writes one JSON value, indented. */
export function writeJson(value: unknown): Promise<void> {
  return writeOut(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** Ends the process. A closed pipe (`| head`) is no error; any other error is reported in one line. */
function onOutputError(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(0);
  tell(
    `cannot write to standard output: ${error.code === 'ENOSPC' ? 'the disk is full' : (error.code ?? error.message)}`,
  );
  process.exit(1);
}

/** Sets for the whole process how errors of stdout and stderr are handled. */
export function watchOutput(): void {
  process.stdout.on('error', onOutputError);
  // If stderr's reader is gone (a log's reader was restarted), the agent and its streams must keep running.
  process.stderr.on('error', () => undefined);
}

/** For long-running commands: if stdout cannot be written, because its reader is gone or the disk is full, report it once and go on. */
export function endlessOutput(): void {
  unwatchOutput();
  let reported = false;
  process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    if (reported) return;
    reported = true;
    tell(
      `events cannot be written to standard output (${code ?? message}); events that could not be written are lost, everything else goes on`,
    );
  });
}

/** Removes the handler of stdout errors, for a stream relayed over stdout: when stdout's reader exits, bytes from stdin must still be delivered. */
export function unwatchOutput(): void {
  process.stdout.off('error', onOutputError);
}

/**
 * Standard output as a stream that can be closed, so that its reader receives the end at once. `process.stdout` keeps a pipe open until the process
 * exits, and the reader (ssh reads its proxy command's output) would wait for that.
 */
export function closableOutput(): Writable {
  const { stdout } = process;
  if (!(stdout instanceof Socket) || stdout.isTTY) return stdout;
  return new Socket({ fd: stdout.fd, readable: false, writable: true });
}

/** Rows under their headings. Columns are as wide as their widest cell. Control characters in cells are replaced. */
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

/** Names and values, one pair per line. */
export function pairs(entries: readonly (readonly [string, string])[]): string {
  const width = Math.max(...entries.map(([name]) => name.length));
  return entries.map(([name, value]) => `${name.padEnd(width)}  ${printable(value, 2_000)}\n`).join('');
}
