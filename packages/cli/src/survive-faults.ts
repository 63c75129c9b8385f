import { tell } from './messages.ts';

/** Maximum number of different faults that are reported. */
const MAX_TOLD = 20;

/**
 * For a program that nobody can restart remotely: reports an uncaught exception once and goes on. Such a fault belongs to
 * one stream or one attempt, which is lost; the other streams go on, perhaps one that an administrator is using.
 * @returns takes the handler off again
 */
export function surviveFaults(): () => void {
  const told = new Set<string>();
  const fault = (error: unknown): void => {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    if (told.has(text) || told.size >= MAX_TOLD) return;
    told.add(text);
    tell(`something went wrong inside, and is a fault of this program: ${text}; going on`);
    if (process.env['CULVERT_DEBUG'] === '1' && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`);
  };
  process.on('uncaughtException', fault);
  return () => process.off('uncaughtException', fault);
}
