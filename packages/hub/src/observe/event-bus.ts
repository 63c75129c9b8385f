import type { EventSink, HubEvent } from './events.ts';

/** Hands every event to every subscriber, in the order in which they subscribed. */
export class EventBus {
  readonly #sinks = new Set<EventSink>();

  /** For the parts that tell: a bound function. */
  readonly emit: EventSink = (event: HubEvent) => {
    for (const sink of this.#sinks) sink(event);
  };

  /** Returns the way to unsubscribe. */
  subscribe(sink: EventSink): () => void {
    this.#sinks.add(sink);
    return () => this.#sinks.delete(sink);
  }
}
