import { tell } from './messages.ts';

/** Different faults that are told; a program that has this many is not helped by one more line. */
const MAX_TOLD = 20;

/**
 * For a program that nobody can restart from afar: an exception that nothing caught is told, once, and does not end it. Such a fault belongs to
 * one stream or one attempt, which is lost; the others, perhaps the one by which somebody is about to look, go on.
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
