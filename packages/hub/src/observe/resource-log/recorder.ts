import type { Identity } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { HubEvent } from '../events.ts';
import type { LiveStreams } from '../live-streams.ts';
import { attachedEntry, detachedEntry, refusedEntry, unansweredEntry } from './connection-entries.ts';
import type { QuotaEvent } from './connection-quota.ts';
import { type LogEntry, type LogRecord, type LogResource, logRecord } from './log-entry.ts';
import { RefusalQuota } from './refusal-quota.ts';
import { connectionEntries } from './session-entries.ts';
import { endedEntry, interruptedEntry, joinedEntry } from './stream-entries.ts';

export interface LogRecorderOptions {
  readonly clock: Clock;
  /** Finds the live record of a stream; must have subscribed to the events before the recorder does. */
  readonly streams: Pick<LiveStreams, 'get'>;
  readonly resource: LogResource;
  /** Whether the identity that a refused client claimed is registered. */
  readonly isRegistered: (identity: Identity) => boolean;
  /** Called with each record. Must not throw and must not block. */
  readonly onRecord: (record: LogRecord) => void;
}

/** Turns the hub's events into records of the resource log. */
export class LogRecorder {
  readonly #options: LogRecorderOptions;
  #sequence = 0;
  readonly #refusals = new RefusalQuota();
  #unrecorded = 0;

  constructor(options: LogRecorderOptions) {
    this.#options = options;
  }

  /** A sink for the hub's events. `quota` is present for an event that the connection quota applies to. */
  readonly observe = (event: HubEvent, quota?: QuotaEvent): void => {
    if (event.type === 'session-reported') {
      for (const entry of connectionEntries(event)) this.#record(entry);
      return;
    }
    const entry = this.#entry(event, quota);
    if (entry !== undefined) this.#record(entry);
  };

  #record(entry: LogEntry): void {
    this.#options.onRecord(logRecord(entry, ++this.#sequence, this.#options.resource));
  }

  #entry(event: HubEvent, quota: QuotaEvent | undefined): LogEntry | undefined {
    const now = quota?.at ?? this.#options.clock.now();
    const unrecorded = quota?.unrecorded ?? 0;
    switch (event.type) {
      case 'stream-established': {
        const stream = this.#options.streams.get(event.streamId);
        return stream === undefined ? undefined : joinedEntry(stream, now);
      }
      case 'stream-ended':
        return endedEntry(event.record);
      case 'stream-interrupted':
        return interruptedEntry(event, now);
      case 'device-attached':
        return attachedEntry(event, now, unrecorded);
      case 'device-detached':
        return detachedEntry(event, now, unrecorded);
      case 'device-unresponsive':
        return unansweredEntry(event, now);
      case 'connection-refused':
      case 'grant-refused':
        if (quota !== undefined) return refusedEntry(event, now, unrecorded);
        return this.#refused(event, now);
      default:
        return undefined;
    }
  }

  #refused(
    event: Extract<HubEvent, { type: 'connection-refused' | 'grant-refused' }>,
    now: number,
  ): LogEntry | undefined {
    const claimed = event.type === 'connection-refused' ? event.claimed : undefined;
    const registered = claimed !== undefined && this.#options.isRegistered(claimed) ? claimed : undefined;
    // The entry is built even if it is not recorded, so that the time taken does not reveal whether the identity is registered.
    const entry = refusedEntry(event, now, this.#unrecorded);
    const listener = event.type === 'connection-refused' ? event.listener : 'gateway';
    const isRecorded = this.#refusals.take({ listener, remoteAddress: event.remoteAddress, registered }, now);
    this.#unrecorded = isRecorded ? 0 : this.#unrecorded + 1;
    return isRecorded ? entry : undefined;
  }
}
