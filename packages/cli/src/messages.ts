import { CulvertError, type ErrorCode, printable } from '@culvert/protocol';

/** Characters of a message that are printed. A reason from a device has at most 512 bytes; Culvert's own messages are shorter. */
const MAX_MESSAGE = 1_000;

/** Prints a message as one line on stderr. Control characters in text from outside cannot affect the terminal. */
export function tell(text: string): void {
  tellWaiting();
  process.stderr.write(line(text));
}

/** Lines of {@link tellSoon} that are not printed yet: those of one turn of the event loop. */
let waiting = '';
let flushesAtExit = false;

/** Prints a message as {@link tell} does, together with the others of this turn of the event loop: a busy proxy prints thousands of lines a second. */
export function tellSoon(text: string): void {
  if (waiting === '') setImmediate(tellWaiting);
  waiting += line(text);
  if (flushesAtExit) return;
  flushesAtExit = true;
  process.on('exit', tellWaiting);
}

function tellWaiting(): void {
  if (waiting === '') return;
  const lines = waiting;
  waiting = '';
  process.stderr.write(lines);
}

function line(text: string): string {
  return `culvert: ${printable(text, MAX_MESSAGE)}\n`;
}

/** Advice for errors whose own text has none, because the hub wrote that text for any client. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  unauthorized:
    "Is the connection string this hub's present one? There, `culvert policy show NAME` and `culvert device show ID --keys` print them.",
  device_not_found: '`culvert device list` shows the registered devices.',
  module_not_found: '`culvert module list DEVICE` shows the registered modules.',
  authority_not_found: '`culvert ca list` shows the registered ones.',
  device_disabled: '`culvert device update ID --status enabled` lets it in again.',
  device_offline: 'Is its agent running?',
  too_many_requests: '`culvert limits` shows which limit was reached.',
  policy_not_found: '`culvert policy list` shows the existing policies.',
};

/** An error's message and the advice for it. */
export function advised(error: CulvertError): string {
  const advice = ADVICE[error.code];
  return advice === undefined ? error.message : `${error.message} ${advice}`;
}

/** Prints an error and returns the exit code. Prints a stack trace only with `CULVERT_DEBUG=1`. */
export function tellError(error: unknown, env: NodeJS.ProcessEnv = process.env): number {
  const known = CulvertError.from(error, 'internal', `something went wrong inside: ${shortMessage(error)}`);
  tell(advised(known));
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
