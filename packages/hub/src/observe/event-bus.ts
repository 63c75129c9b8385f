import type { EventSink, HubEvent } from './events.ts';

/** Hands every event to every subscriber, in the order in which they subscribed. */
export class EventBus {
  readonly #sinks = new Set<EventSink>();
  /** Events emitted during a delivery, for example by a subscriber, so that all subscribers see the same order. Empty after each event-loop iteration. */
  readonly #waiting: HubEvent[] = [];
  #handing = false;

  /** Emits an event; bound, so that it can be passed as a callback. */
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

  /** Returns a function that unsubscribes. */
  subscribe(sink: EventSink): () => void {
    this.#sinks.add(sink);
    return () => this.#sinks.delete(sink);
  }
}
