import type { StreamCounters } from '@culvert/gateway';
import { CulvertError, type ErrorCode, type Identity, type LimitName } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import type { EventSink } from '../observe/events.ts';
import type { KnownSession } from '../observe/known-sessions.ts';
import type { DailyUsage } from './daily-usage.ts';

/** Limits of an established stream; 0 means no limit. */
export interface WatchLimits {
  readonly idleMs: number;
  readonly lifetimeMs: number;
  readonly bytesPerStream: number;
  readonly bytesPerDevicePerDay: number;
}

export interface StreamWatchOptions {
  readonly limits: WatchLimits;
  /** Counters of an established stream. */
  readonly counters: (streamId: string) => StreamCounters | undefined;
  /** The target of a stream. */
  readonly identityOf: (streamId: string) => Identity | undefined;
  /** The session that a stream carries; undefined for a raw stream. Its lifetime and bytes are those of all its streams. */
  readonly sessionOf: (streamId: string) => KnownSession | undefined;
  /** Ends a stream with an error that both sides receive. */
  readonly end: (streamId: string, error: CulvertError) => void;
  /** Undefined when `bytesPerDevicePerDay` is off. */
  readonly usage: DailyUsage | undefined;
  readonly clock: Clock;
  readonly onEvent: EventSink;
}

/**
 * Milliseconds between two checks of all established streams. Bytes are not delayed by the check, so a stream may exceed its limit by the
 * bytes that it carries in this time and those buffered for a slow reader.
 */
const SAMPLE_MS = 1_000;

interface Watched {
  readonly identity: Identity;
  readonly session: KnownSession | undefined;
  /** Milliseconds since the epoch. */
  readonly establishedAt: number;
  /** The stream's `StreamCounters.countedBytes` when last read. */
  bytes: number;
  messages: number;
  /** When the counters last changed, in milliseconds since the epoch. */
  activeAt: number;
  ending: boolean;
}

/** Ends established streams that reach a limit. All streams share one timer, which runs only while there is a limit and a stream. */
export class StreamWatch {
  readonly #options: StreamWatchOptions;
  readonly #hasLimits: boolean;
  readonly #streams = new Map<string, Watched>();
  #timer: Timer | undefined;

  constructor(options: StreamWatchOptions) {
    this.#options = options;
    this.#hasLimits = Object.values(options.limits).some((limit) => limit > 0);
  }

  /** Handles an event of the hub. */
  readonly observe: EventSink = (event) => {
    if (!this.#hasLimits) return;
    if (event.type === 'stream-established') this.#begin(event.streamId);
    else if (event.type === 'stream-ended') {
      const { streamId, deviceId, countedBytes } = event.record;
      const watched = this.#streams.get(streamId);
      const unknown = countedBytes - (watched?.bytes ?? 0);
      this.#options.usage?.add(deviceId, unknown);
      if (watched?.session !== undefined) watched.session.bytes += unknown;
      this.#streams.delete(streamId);
      if (this.#streams.size === 0) this.#stopTimer();
    }
  };

  /** For each limit, the highest value of any stream; undefined for a limit that is off. */
  get nearest(): { readonly [Name in keyof WatchLimits]: number | undefined } {
    const { clock, limits, usage } = this.#options;
    const now = clock.now();
    const most = (of: (stream: Watched) => number) => Math.max(0, ...[...this.#streams.values()].map(of));
    return {
      idleMs: limits.idleMs === 0 ? undefined : most(({ activeAt }) => now - activeAt),
      lifetimeMs: limits.lifetimeMs === 0 ? undefined : most((stream) => now - lifeOf(stream).establishedAt),
      bytesPerStream: limits.bytesPerStream === 0 ? undefined : most((stream) => lifeOf(stream).bytes),
      bytesPerDevicePerDay: usage?.most,
    };
  }

  /** Forgets all streams and cancels the timer. */
  stop(): void {
    this.#streams.clear();
    this.#stopTimer();
  }

  #begin(streamId: string): void {
    const known = this.#options.identityOf(streamId);
    if (known === undefined) return;
    const identity = { deviceId: known.deviceId, moduleId: known.moduleId };
    const now = this.#options.clock.now();
    const session = this.#options.sessionOf(streamId);
    const nothing = { establishedAt: now, bytes: 0, messages: 0, activeAt: now, ending: false };
    this.#streams.set(streamId, { identity, session, ...nothing });
    this.#timer ??= this.#options.clock.setTimer(SAMPLE_MS, this.#check);
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  readonly #check = (): void => {
    this.#timer = this.#options.clock.setTimer(SAMPLE_MS, this.#check);
    const now = this.#options.clock.now();
    // Read all counters first: all streams of a device share its daily limit.
    for (const [streamId, stream] of this.#streams) this.#sample(streamId, stream, now);
    for (const [streamId, stream] of this.#streams) {
      if (stream.ending) continue;
      const reached = this.#reached(stream, now);
      if (reached === undefined) continue;
      stream.ending = true;
      this.#options.onEvent({ type: 'limit-reached', limit: reached.limit, identity: stream.identity });
      this.#options.end(streamId, reached.error);
    }
  };

  #sample(streamId: string, stream: Watched, now: number): void {
    const counters = this.#options.counters(streamId);
    if (counters === undefined) return;
    const bytes = counters.countedBytes;
    const messages = counters.fromService.messages + counters.fromDevice.messages;
    if (bytes === stream.bytes && messages === stream.messages) return;
    this.#options.usage?.add(stream.identity.deviceId, bytes - stream.bytes);
    if (stream.session !== undefined) stream.session.bytes += bytes - stream.bytes;
    stream.bytes = bytes;
    stream.messages = messages;
    stream.activeAt = now;
  }

  #reached(stream: Watched, now: number): { limit: LimitName; error: CulvertError } | undefined {
    const { limits, usage } = this.#options;
    const over = (limit: keyof WatchLimits, value: number) => limits[limit] > 0 && value >= limits[limit];
    const reached = (limit: LimitName, code: ErrorCode, text: string) => ({
      limit,
      error: new CulvertError(code, text),
    });
    const { establishedAt, bytes } = lifeOf(stream);
    if (over('bytesPerStream', bytes)) {
      return reached('bytesPerStream', 'quota_reached', 'The stream has carried as much as it may.');
    }
    if (over('bytesPerDevicePerDay', usage?.of(stream.identity.deviceId) ?? 0)) {
      return reached('bytesPerDevicePerDay', 'quota_reached', 'The device has carried as much today as it may.');
    }
    if (over('lifetimeMs', now - establishedAt)) {
      return reached('lifetimeMs', 'lifetime_ended', 'The stream had lived as long as it may.');
    }
    if (over('idleMs', now - stream.activeAt)) {
      return reached('idleMs', 'idle_timeout', 'Nothing was sent for as long as a stream may be idle.');
    }
    return undefined;
  }
}

/** What the limits on lifetime and bytes count: the session as a whole, or the stream where there is none. */
function lifeOf(stream: Watched): Pick<KnownSession, 'establishedAt' | 'bytes'> {
  return stream.session ?? stream;
}
