import { CulvertError, printable } from '@culvert/protocol';

/** Characters of a message that are shown; a reason from a device is at most 512 bytes, a sentence of ours shorter. */
const MAX_MESSAGE = 1_000;

/** One line for a person on stderr, where messages go; what came from outside cannot steer the terminal. */
export function tell(text: string): void {
  process.stderr.write(`culvert: ${printable(text, MAX_MESSAGE)}\n`);
}

/** Says what went wrong and returns the exit code. A stack trace only with `CULVERT_DEBUG=1`. */
export function tellError(error: unknown, env: NodeJS.ProcessEnv = process.env): number {
  const known = CulvertError.from(error, 'internal', `something went wrong inside: ${shortMessage(error)}`);
  tell(known.message);
  if (env['CULVERT_DEBUG'] === '1' && error instanceof Error) process.stderr.write(`${stack(error)}\n`);
  return known.row.exit;
}

function shortMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function stack(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stack(error.cause)}` : '';
  return `${error.stack ?? error.message}${cause}`;
}
