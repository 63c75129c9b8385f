import type { EventSink } from './events.ts';
import type { LiveStreams } from './live-streams.ts';
import { sessionKey } from './session-key.ts';
import type { LiveStream } from './stream-record.ts';

/** Milliseconds for which a session without a stream is remembered: the longest time for which the ends keep one, a week, and a day's margin. */
export const SESSION_MEMORY_MS = 8 * 24 * 60 * 60 * 1_000;

/** Maximum sessions without a stream that are remembered, about 400 bytes each; beyond it the oldest is forgotten. */
export const MAX_DETACHED_SESSIONS = 10_000;

/** A session that a device and a service agreed on, over all streams that have carried it. */
export interface KnownSession {
  readonly sessionId: string;
  /** When its first stream was established, in milliseconds since the epoch. */
  readonly establishedAt: number;
  /** Bytes of all its streams as the limits count them; kept current by the one who enforces the limits. */
  bytes: number;
}

interface Entry extends KnownSession {
  readonly streams: Set<string>;
  /** When its last stream ended; undefined while it has a stream. */
  detachedAt: number | undefined;
}

/**
 * The sessions whose streams are open, and those that had streams lately: what is counted for a session goes on when another stream takes it up. It
 * knows only what the hub sees: that the device has accepted a session, never what runs in it.
 */
export class KnownSessions {
  readonly #streams: Pick<LiveStreams, 'get'>;
  readonly #now: () => number;
  readonly #sessions = new Map<string, Entry>();
  /** The keys of sessions without a stream, the one that has been so for the longest time first. */
  readonly #detached = new Set<string>();

  /** @param options.streams have observed each event before this */
  constructor(options: { readonly streams: Pick<LiveStreams, 'get'>; readonly now: () => number }) {
    this.#streams = options.streams;
    this.#now = options.now;
  }

  /** A sink for the hub's events. */
  readonly observe: EventSink = (event) => {
    if (event.type === 'stream-established') {
      const stream = this.#streams.get(event.streamId);
      if (stream !== undefined) this.#attach(stream);
    } else if (event.type === 'stream-ended') this.#detach(event.record);
  };

  /** The session that a stream carries; undefined for a raw stream. */
  of(stream: LiveStream | undefined): KnownSession | undefined {
    const key = stream === undefined ? undefined : keyOf(stream);
    return key === undefined ? undefined : this.get(key);
  }

  /** @param key of `sessionKey` */
  get(key: string): KnownSession | undefined {
    this.#expire();
    return this.#sessions.get(key);
  }

  /** The number of sessions, with and without a stream. */
  get size(): number {
    return this.#sessions.size;
  }

  #attach(stream: LiveStream): void {
    const key = keyOf(stream);
    if (key === undefined || stream.sessionId === undefined) return;
    this.#expire();
    const known = this.#sessions.get(key) ?? {
      ...{ sessionId: stream.sessionId, establishedAt: this.#now(), bytes: 0 },
      ...{ streams: new Set<string>(), detachedAt: undefined },
    };
    known.streams.add(stream.streamId);
    known.detachedAt = undefined;
    this.#sessions.set(key, known);
    this.#detached.delete(key);
  }

  #detach(stream: LiveStream): void {
    const key = keyOf(stream);
    const known = key === undefined ? undefined : this.#sessions.get(key);
    if (key === undefined || known === undefined || !known.streams.delete(stream.streamId)) return;
    if (known.streams.size > 0) return;
    known.detachedAt = this.#now();
    this.#detached.add(key);
    this.#expire();
  }

  #expire(): void {
    const oldest = this.#now() - SESSION_MEMORY_MS;
    for (const key of this.#detached) {
      const { detachedAt = 0 } = this.#sessions.get(key) ?? {};
      if (this.#detached.size <= MAX_DETACHED_SESSIONS && detachedAt > oldest) return;
      this.#detached.delete(key);
      this.#sessions.delete(key);
    }
  }
}

/** Undefined for a stream whose device has not accepted a session. */
function keyOf({ sessionId, session, caller, deviceId, moduleId }: LiveStream): string | undefined {
  if (sessionId === undefined || session === undefined) return undefined;
  return sessionKey(sessionId, caller, { deviceId, moduleId });
}
