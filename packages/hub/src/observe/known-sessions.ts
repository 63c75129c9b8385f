import { type Identity, identityName } from '@culvert/protocol';
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
  /** Of `sessionKey`. */
  readonly key: string;
  readonly sessionId: string;
  readonly caller: string;
  readonly identity: Identity;
  /** Its newest stream, which may have ended. */
  readonly streamId: string;
  /** When its first stream was established, in milliseconds since the epoch. */
  readonly establishedAt: number;
  /** Bytes of all its streams as the limits count them; kept current by the one who enforces the limits. */
  bytes: number;
}

interface Entry extends KnownSession {
  streamId: string;
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
  /** The newest session with an id and a device, by both. */
  readonly #ofDevice = new Map<string, string>();
  /** Keys by stream: of open streams, and of the newest stream of a session without one. */
  readonly #ofStream = new Map<string, string>();
  readonly #onDetached: (key: string) => void;
  /** The keys of sessions without a stream, the one that has been so for the longest time first. */
  readonly #detached = new Set<string>();

  /**
   * @param options.streams have observed each event before this
   * @param options.onDetached called with the key of a session whose last stream has ended
   */
  constructor(options: {
    readonly streams: Pick<LiveStreams, 'get'>;
    readonly now: () => number;
    readonly onDetached?: (key: string) => void;
  }) {
    this.#onDetached = options.onDetached ?? (() => undefined);
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

  /** The newest session of a device or module that has this id. */
  ofDevice(identity: Identity, sessionId: string): KnownSession | undefined {
    const key = this.#ofDevice.get(deviceKey(identity, sessionId));
    return key === undefined ? undefined : this.get(key);
  }

  /** The sessions with this id: one, unless several callers or devices use the same. */
  withId(sessionId: string): KnownSession[] {
    this.#expire();
    return [...this.#sessions.values()].filter((session) => session.sessionId === sessionId);
  }

  /** The session that a stream carries, or carried last. */
  ofStream(streamId: string): KnownSession | undefined {
    const key = this.#ofStream.get(streamId);
    return key === undefined ? undefined : this.get(key);
  }

  /** The number of sessions, with and without a stream. */
  get size(): number {
    return this.#sessions.size;
  }

  #attach(stream: LiveStream): void {
    const key = keyOf(stream);
    if (key === undefined || stream.sessionId === undefined) return;
    this.#expire();
    const { sessionId, streamId, caller, deviceId, moduleId } = stream;
    const known = this.#sessions.get(key) ?? {
      ...{ key, sessionId, streamId, caller, identity: { deviceId, moduleId }, establishedAt: this.#now(), bytes: 0 },
      ...{ streams: new Set<string>(), detachedAt: undefined },
    };
    if (!known.streams.has(known.streamId)) this.#ofStream.delete(known.streamId);
    known.streams.add(streamId);
    known.streamId = streamId;
    this.#ofStream.set(streamId, key);
    this.#ofDevice.set(deviceKey(known.identity, sessionId), key);
    known.detachedAt = undefined;
    this.#sessions.set(key, known);
    this.#detached.delete(key);
  }

  #detach(stream: LiveStream): void {
    const key = keyOf(stream);
    const known = key === undefined ? undefined : this.#sessions.get(key);
    if (key === undefined || known === undefined || !known.streams.delete(stream.streamId)) return;
    if (stream.streamId !== known.streamId) this.#ofStream.delete(stream.streamId);
    if (known.streams.size > 0) return;
    this.#onDetached(key);
    known.detachedAt = this.#now();
    this.#detached.add(key);
    this.#expire();
  }

  #expire(): void {
    const oldest = this.#now() - SESSION_MEMORY_MS;
    for (const key of this.#detached) {
      const known = this.#sessions.get(key);
      if (this.#detached.size <= MAX_DETACHED_SESSIONS && (known?.detachedAt ?? 0) > oldest) return;
      this.#detached.delete(key);
      if (known !== undefined) this.#forget(known);
    }
  }

  #forget({ key, streamId, sessionId, identity }: Entry): void {
    this.#sessions.delete(key);
    this.#ofStream.delete(streamId);
    // Another caller's session of the same id may be the newest one.
    const ofDevice = deviceKey(identity, sessionId);
    if (this.#ofDevice.get(ofDevice) === key) this.#ofDevice.delete(ofDevice);
  }
}

function deviceKey(identity: Identity, sessionId: string): string {
  return `${sessionId} ${identityName(identity)}`;
}

/** Undefined for a stream whose device has not accepted a session. */
function keyOf({ sessionId, session, caller, deviceId, moduleId }: LiveStream): string | undefined {
  if (sessionId === undefined || session === undefined) return undefined;
  return sessionKey(sessionId, caller, { deviceId, moduleId });
}
