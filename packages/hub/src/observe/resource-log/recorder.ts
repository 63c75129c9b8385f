import type { Clock } from '@culvert/stream';
import type { HubEvent } from '../events.ts';
import type { LiveStreams } from '../live-streams.ts';
import { attachedEntry, detachedEntry, refusedEntry } from './connection-entries.ts';
import type { ToldEvent } from './connection-quota.ts';
import { type LogEntry, type LogRecord, type LogResource, logRecord } from './log-entry.ts';
import { endedEntry, joinedEntry } from './stream-entries.ts';

/** Refusals recorded in one minute. Strangers cause them at will; at 0.8 KB each, a month of this is 700 MB, below the store's default size. */
const REFUSALS_A_MINUTE = 20;

const MINUTE_MS = 60_000;

export interface LogRecorderOptions {
  readonly clock: Clock;
  /** Where a stream's story so far is found; it must hear events first. */
  readonly streams: Pick<LiveStreams, 'get'>;
  readonly resource: LogResource;
  /** Told of each record. Must not throw and must not block. */
  readonly onRecord: (record: LogRecord) => void;
}

/** Makes the resource log's records from the hub's events. */
export class LogRecorder {
  readonly #options: LogRecorderOptions;
  #sequence = 0;
  #minute = 0;
  #refusals = 0;
  #unrecorded = 0;

  constructor(options: LogRecorderOptions) {
    this.#options = options;
  }

  /** A sink for the hub's events; `told`: what the quota of connections says of them. */
  readonly observe = (event: HubEvent, told?: ToldEvent): void => {
    const entry = this.#entry(event, told);
    if (entry === undefined) return;
    this.#options.onRecord(logRecord(entry, ++this.#sequence, this.#options.resource));
  };

  #entry(event: HubEvent, told: ToldEvent | undefined): LogEntry | undefined {
    const now = told?.at ?? this.#options.clock.now();
    const unrecorded = told?.unrecorded ?? 0;
    switch (event.type) {
      case 'stream-established': {
        const stream = this.#options.streams.get(event.streamId);
        return stream === undefined ? undefined : joinedEntry(stream, now);
      }
      case 'stream-ended':
        return endedEntry(event.record);
      case 'device-attached':
        return attachedEntry(event, now, unrecorded);
      case 'device-detached':
        return detachedEntry(event, now, unrecorded);
      case 'connection-refused':
      case 'grant-refused':
        if (told !== undefined) return refusedEntry(event, now, unrecorded);
        return this.#refused(event, now);
      default:
        return undefined;
    }
  }

  #refused(
    event: Extract<HubEvent, { type: 'connection-refused' | 'grant-refused' }>,
    now: number,
  ): LogEntry | undefined {
    const minute = Math.floor(now / MINUTE_MS);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#refusals = 0;
    }
    if (++this.#refusals > REFUSALS_A_MINUTE) {
      this.#unrecorded++;
      return undefined;
    }
    const unrecorded = this.#unrecorded;
    this.#unrecorded = 0;
    return refusedEntry(event, now, unrecorded);
  }
}
