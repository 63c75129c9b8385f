import type { EventSink, HubEvent } from './events.ts';

/** Delivers each event to all subscribers, in the order in which they subscribed. */
export class EventBus {
  readonly #sinks = new Set<EventSink>();
  /**
   * Events not delivered yet: a subscriber may emit an event during a delivery, and all subscribers must receive the events in the same order.
   * Empty after the outermost call of `emit` has returned.
   */
  readonly #queue: HubEvent[] = [];
  #delivering = false;

  /** Emits an event; bound, so that it can be passed as a callback. */
  readonly emit: EventSink = (event: HubEvent) => {
    this.#queue.push(event);
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        for (const sink of this.#sinks) sink(next);
      }
    } finally {
      this.#delivering = false;
    }
  };

  /** Returns a function that unsubscribes. */
  subscribe(sink: EventSink): () => void {
    this.#sinks.add(sink);
    return () => this.#sinks.delete(sink);
  }
}
