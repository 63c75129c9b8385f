import { type Clock, delay } from '@culvert/stream';
import type { EventSink } from '../events.ts';
import type { Audit } from './open-audit.ts';

/** Events emitted before waiting for the audit log to write them: as many as it writes at once, and a tenth of its queue. */
const STREAMS_AT_ONCE = 1_000;

/** Maximum milliseconds that the hub's start waits here for the disk. If the disk fails, the hub still starts, and the audit log counts dropped records. */
const MAX_WAIT_MS = 30_000;

/** Emits an event for each stream that was open when the previous hub process died, no faster than the audit log can write the events. */
export async function emitInterrupted(
  { interrupted, settled }: Pick<Audit, 'interrupted' | 'settled'>,
  { clock, onEvent }: { readonly clock: Clock; readonly onEvent: EventSink },
): Promise<void> {
  const over = new AbortController();
  const timeout = delay(clock, MAX_WAIT_MS, over.signal).catch(() => undefined);
  for (let from = 0; from < interrupted.length; from += STREAMS_AT_ONCE) {
    for (const event of interrupted.slice(from, from + STREAMS_AT_ONCE)) onEvent(event);
    await Promise.race([settled(), timeout]);
  }
  over.abort();
}
