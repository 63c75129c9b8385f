import {
  CLOSE_CAUSES,
  type CloseCause,
  closeCauseFromError,
  type ErrorCode,
  type Identity,
  identityName,
} from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { EventSink, HubEvent } from './events.ts';
import type { Carried, LiveStream } from './stream-record.ts';

const NOTHING: Carried = { bytes: 0, messages: 0 };

/**
 * Tracks every stream from its request to its end, then emits `stream-ended` with the complete record. The record is assembled only here. An entry
 * is deleted when its stream ends; the number of entries is bounded by the limits of pending requests, grants and streams at the gateway.
 */
export class LiveStreams {
  readonly #clock: Clock;
  readonly #onEvent: EventSink;
  readonly #gateway: () => string;
  readonly #streams = new Map<string, LiveStream>();
  /** Number of streams by identity name; only identities that have streams. */
  readonly #perIdentity = new Map<string, number>();

  /** @param options.gateway returns `HOST:PORT` of the gateway that grants name */
  constructor(options: { clock: Clock; onEvent: EventSink; gateway: () => string }) {
    this.#clock = options.clock;
    this.#onEvent = options.onEvent;
    this.#gateway = options.gateway;
  }

  /** All streams that have not ended, oldest first. */
  list(): LiveStream[] {
    return [...this.#streams.values()];
  }

  get(streamId: string): LiveStream | undefined {
    return this.#streams.get(streamId);
  }

  get size(): number {
    return this.#streams.size;
  }

  /** The number of streams to the identity: to a device without its modules, or to one module. */
  of(identity: Identity): number {
    return this.#perIdentity.get(identityName(identity)) ?? 0;
  }

  /** A sink for the hub's events. The first event that ends a stream counts; later events of that stream are ignored. */
  readonly observe: EventSink = (event) => {
    switch (event.type) {
      case 'stream-requested':
        this.#requested(event);
        return;
      case 'stream-offered':
        this.#change(event.streamId, { offeredAt: this.#clock.now() });
        return;
      case 'stream-answered':
        this.#answered(event);
        return;
      case 'connection-waiting': {
        const address = event.side === 'device' ? 'deviceAddress' : 'serviceAddress';
        this.#change(event.streamId, { [address]: event.remoteAddress });
        return;
      }
      case 'stream-established':
        this.#change(event.streamId, { establishedAt: this.#clock.now() });
        return;
      case 'stream-failed':
        this.#end(event.streamId, {
          cause: closeCauseFromError(event.error),
          error: event.error,
          detail: event.detail,
        });
        return;
      case 'stream-closed': {
        const { cause, error, fromService, fromDevice, countedBytes } = event;
        const detail = event.detail ?? CLOSE_CAUSES[cause];
        this.#end(event.streamId, { cause, error, detail, fromService, fromDevice, countedBytes });
      }
    }
  };

  #requested(event: Extract<HubEvent, { type: 'stream-requested' }>): void {
    const { deviceId, moduleId, streamId, streamName, caller } = event;
    this.#count(event, 1);
    this.#streams.set(streamId, {
      deviceId,
      moduleId,
      streamId,
      streamName,
      caller,
      callerAddress: event.remoteAddress,
      traceParent: event.traceParent,
      sessionId: event.sessionId,
      session: undefined,
      gateway: this.#gateway(),
      requestedAt: this.#clock.now(),
      offeredAt: undefined,
      answeredAt: undefined,
      answeredBy: undefined,
      establishedAt: undefined,
      serviceAddress: undefined,
      deviceAddress: undefined,
      fromService: NOTHING,
      fromDevice: NOTHING,
      countedBytes: 0,
    });
  }

  #answered(event: Extract<HubEvent, { type: 'stream-answered' }>): void {
    const { streamId, principal, protocol, remoteAddress, clientVersion, reason, session } = event;
    const answeredBy = { principal, protocol, remoteAddress, clientVersion };
    this.#change(streamId, { answeredAt: this.#clock.now(), answeredBy, session });
    if (event.accepted) return;
    this.#end(streamId, { cause: 'rejected', error: 'rejected', detail: reason || CLOSE_CAUSES.rejected });
  }

  #count(identity: Identity, change: 1 | -1): void {
    const count = this.of(identity) + change;
    if (count === 0) this.#perIdentity.delete(identityName(identity));
    else this.#perIdentity.set(identityName(identity), count);
  }

  #change(streamId: string, change: Partial<LiveStream>): void {
    const stream = this.#streams.get(streamId);
    if (stream !== undefined) this.#streams.set(streamId, { ...stream, ...change });
  }

  #end(
    streamId: string,
    how: {
      cause: CloseCause;
      error?: ErrorCode | undefined;
      detail: string;
      fromService?: Carried;
      fromDevice?: Carried;
      countedBytes?: number;
    },
  ): void {
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    this.#streams.delete(streamId);
    this.#count(stream, -1);
    const record = { ...stream, error: undefined, ...how, endedAt: this.#clock.now() };
    this.#onEvent({ type: 'stream-ended', record });
  }
}
