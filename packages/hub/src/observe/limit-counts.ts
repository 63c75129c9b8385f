import type { LimitName } from '@culvert/protocol';
import type { EventSink } from './events.ts';

/** How often each limit was reached since the hub started. */
export class LimitCounts {
  readonly #counts = new Map<LimitName, number>();

  /** A sink for the hub's events. */
  readonly observe: EventSink = (event) => {
    if (event.type === 'limit-reached') this.#counts.set(event.limit, this.of(event.limit) + 1);
  };

  of(limit: LimitName): number {
    return this.#counts.get(limit) ?? 0;
  }
}
