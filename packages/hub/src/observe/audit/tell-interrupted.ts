import { type Clock, delay } from '@culvert/stream';
import type { EventSink } from '../events.ts';
import type { Audit } from './open-audit.ts';

/** Streams told of before the audit record is waited for: one write of it, and a tenth of what it queues. */
const STREAMS_AT_ONCE = 1_000;

/** Milliseconds that the start waits for the disk in all. While a disk fails, the hub starts all the same, and the record counts what it lost. */
const MAX_WAIT_MS = 30_000;

/** Tells every subscriber which streams were open when the hub before this one died, no faster than the audit record takes it. */
export async function tellInterrupted(
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
