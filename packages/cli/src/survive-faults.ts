import { tell } from './messages.ts';

/** Maximum number of different faults that are reported. */
const MAX_REPORTED = 20;

/**
 * For a program that nobody can restart remotely: reports each different uncaught exception once and keeps running. Such a fault belongs to
 * one stream or one connection attempt, which is lost; the other streams continue, and an administrator may be using one of them.
 * @returns a function that removes the handler
 */
export function surviveFaults(): () => void {
  const reported = new Set<string>();
  const fault = (error: unknown): void => {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    if (reported.has(text) || reported.size >= MAX_REPORTED) return;
    reported.add(text);
    tell(`something went wrong inside, and is a fault of this program: ${text}; going on`);
    if (process.env['CULVERT_DEBUG'] === '1' && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`);
  };
  process.on('uncaughtException', fault);
  return () => process.off('uncaughtException', fault);
}
