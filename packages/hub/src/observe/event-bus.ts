import type { EventSink, HubEvent } from './events.ts';

/** Hands every event to every subscriber, in the order in which they subscribed. */
export class EventBus {
  readonly #sinks = new Set<EventSink>();
  /** Told while another was being handed out, as when a subscriber tells one itself: all see them in the same order. As long as one turn. */
  readonly #waiting: HubEvent[] = [];
  #handing = false;

  /** For the parts that tell: a bound function. */
  readonly emit: EventSink = (event: HubEvent) => {
    this.#waiting.push(event);
    if (this.#handing) return;
    this.#handing = true;
    try {
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
        for (const sink of this.#sinks) sink(next);
      }
    } finally {
      this.#handing = false;
    }
  };

  /** Returns the way to unsubscribe. */
  subscribe(sink: EventSink): () => void {
    this.#sinks.add(sink);
    return () => this.#sinks.delete(sink);
  }
}
