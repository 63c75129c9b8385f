import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds after which what is waited for is taken for hung: no test may depend on how fast the machine is. */
export const HANG_MS = 300_000;

/** Milliseconds between two checks of a condition. */
const POLL_MS = 50;

/**
 * Waits until `look` returns something other than undefined, null or false, and returns that. A look that throws counts as "not yet".
 * @param what completes the sentence "waited N ms for …"
 * @throws Error after `timeoutMs`, with the last look's own error as its cause
 */
export async function eventually<T>(
  what: string,
  look: () => T | Promise<T>,
  timeoutMs = HANG_MS,
): Promise<Exclude<T, undefined | null | false>> {
  const deadline = Date.now() + timeoutMs;
  let cause: unknown;
  do {
    try {
      const seen = await look();
      if (seen !== undefined && seen !== null && seen !== false) return seen as Exclude<T, undefined | null | false>;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    await sleep(POLL_MS);
  } while (Date.now() < deadline);
  throw new Error(`waited ${timeoutMs} ms for ${what}`, { cause });
}
