import type { ServerResponse } from 'node:http';
import type { StreamCountersView, StreamNotice } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import type { Principal } from '../../auth/principal.ts';
import type { EventSink, HubEvent } from '../../observe/events.ts';
import { claimsView, endedStreamView, streamView } from '../documents/stream.ts';
import type { LiveView } from '../live-view-deps.ts';
import { matchesFilter, type StreamFilter } from './stream-filter.ts';
import type { Subscriber } from './subscriber.ts';

/** Milliseconds between two readings of the counters, for all subscribers together. */
const COUNTERS_MS = 1_000;

/** Maximum streams in one `counters` event, so that no event exceeds about 50 KiB. */
const MAX_COUNTERS = 250;

/** Sends subscribers the current streams, then every change. Does nothing without subscribers. */
export class StreamFollowing {
  readonly #live: LiveView;
  readonly #clock: Clock;
  readonly #subscribers = new Map<Subscriber, StreamFilter>();
  /** By stream id: the sum of bytes and messages when the counters were last sent. */
  readonly #sentSums = new Map<string, number>();
  #unsubscribe: (() => void) | undefined;
  #timer: Timer | undefined;

  constructor(live: LiveView, clock: Clock) {
    this.#live = live;
    this.#clock = clock;
  }

  /** Takes over a response to which nothing was written yet. */
  async follow(response: ServerResponse, principal: Principal, filter: StreamFilter): Promise<void> {
    const subscriber = this.#live.subscribers.add(response, principal, () => this.#onGone(subscriber));
    this.#subscribers.set(subscriber, filter);
    this.#unsubscribe ??= this.#live.subscribe(this.#observe);
    this.#timer ??= this.#clock.setTimer(COUNTERS_MS, this.#sendCounters);
    await subscriber.sendAll(this.#snapshot(filter));
    this.#send(subscriber, { event: 'ready', data: {} });
  }

  /** Each stream as it is when written; a stream that has ended meanwhile is skipped, since its `ended` event was sent. */
  *#snapshot(filter: StreamFilter): Generator<StreamNotice | undefined> {
    for (const { streamId } of this.#live.streams.list().filter((stream) => matchesFilter(stream, filter))) {
      yield this.#notice(streamId);
    }
  }

  #notice(streamId: string): StreamNotice | undefined {
    const stream = this.#live.streams.get(streamId);
    if (stream === undefined) return undefined;
    return { event: 'stream', data: streamView(stream, this.#live.counters(streamId)) };
  }

  readonly #observe: EventSink = (event: HubEvent) => {
    switch (event.type) {
      case 'stream-requested':
      case 'stream-offered':
      case 'stream-answered':
      case 'connection-waiting':
      case 'stream-established': {
        // LiveStreams handles each event first, so after a rejection the stream has already ended.
        const stream = this.#live.streams.get(event.streamId);
        const notice = this.#notice(event.streamId);
        if (stream !== undefined && notice !== undefined) this.#sendToAll(stream, notice);
        return;
      }
      case 'session-reported':
        this.#sendToAll(event, { event: 'claims', data: claimsView(event, event) });
        return;
      case 'stream-ended':
        this.#sentSums.delete(event.record.streamId);
        this.#sendToAll(event.record, { event: 'ended', data: endedStreamView(event.record) });
    }
  };

  readonly #sendCounters = (): void => {
    this.#timer = this.#clock.setTimer(COUNTERS_MS, this.#sendCounters);
    const changed = this.#changedCounters();
    if (changed.length === 0) return;
    for (const [subscriber, filter] of this.#subscribers) {
      const matching = changed.filter(({ streamId }) => {
        const stream = this.#live.streams.get(streamId);
        return stream !== undefined && matchesFilter(stream, filter);
      });
      for (let at = 0; at < matching.length; at += MAX_COUNTERS) {
        this.#send(subscriber, { event: 'counters', data: matching.slice(at, at + MAX_COUNTERS) });
      }
    }
  };

  #changedCounters(): StreamCountersView[] {
    const changed: StreamCountersView[] = [];
    for (const { streamId, establishedAt } of this.#live.streams.list()) {
      const counters = establishedAt === undefined ? undefined : this.#live.counters(streamId);
      if (counters === undefined) continue;
      const { fromService, fromDevice } = counters;
      const sum = fromService.bytes + fromDevice.bytes + fromService.messages + fromDevice.messages;
      if (sum === (this.#sentSums.get(streamId) ?? 0)) continue;
      this.#sentSums.set(streamId, sum);
      changed.push({ streamId, fromService, fromDevice });
    }
    return changed;
  }

  #sendToAll(stream: Parameters<typeof matchesFilter>[0], notice: StreamNotice): void {
    for (const [subscriber, filter] of this.#subscribers)
      if (matchesFilter(stream, filter)) this.#send(subscriber, notice);
  }

  #send(subscriber: Subscriber, notice: StreamNotice): void {
    this.#live.subscribers.send(subscriber, notice);
  }

  #onGone(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber);
    if (this.#subscribers.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#sentSums.clear();
  }
}
