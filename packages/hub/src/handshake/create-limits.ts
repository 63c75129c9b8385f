import type { GatewayControl } from '@culvert/gateway';
import type { CulvertError, LimitName, LimitView } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { HubConfig } from '../config/config.ts';
import type { EventBus } from '../observe/event-bus.ts';
import type { KnownSessions } from '../observe/known-sessions.ts';
import { LimitCounts } from '../observe/limit-counts.ts';
import type { LiveStreams } from '../observe/live-streams.ts';
import type { UsageStore } from '../registry/registry.ts';
import { DailyUsage } from './daily-usage.ts';
import { RateLimiter } from './rate-limiter.ts';
import type { StreamTable } from './stream-table.ts';
import { StreamWatch } from './stream-watch.ts';

export interface StreamLimitsOptions {
  readonly limits: HubConfig['limits'];
  readonly usage: UsageStore;
  readonly streams: Pick<StreamTable, 'ofDevice' | 'mostOfOneDevice'>;
  readonly gateway: Pick<GatewayControl, 'streams' | 'waitingConnections' | 'counters'>;
  readonly endStream: (streamId: string, error: CulvertError) => void;
  readonly live: LiveStreams;
  /** Has subscribed to the events before anything that is created here. */
  readonly sessions: KnownSessions;
  readonly clock: Clock;
  readonly events: EventBus;
}

/** Enforces the configured limits on streams. */
export interface StreamLimits {
  readonly admission: RateLimiter;
  /** Every limit with its value, its current use, and the number of times it was reached. */
  view(): LimitView[];
  /** Cancels every timer and writes pending totals. */
  close(): Promise<void>;
}

/** Creates the limits on streams. Bytes per day are counted only when `bytesPerDevicePerDay` is configured. */
export async function createStreamLimits(options: StreamLimitsOptions): Promise<StreamLimits> {
  const { limits, gateway, streams, clock, events, live, sessions } = options;
  const usage = limits.bytesPerDevicePerDay === 0 ? undefined : await openUsage(options);
  const admission = new RateLimiter({
    limits,
    atGateway: () => gateway.streams + gateway.waitingConnections,
    ofDevice: (deviceId) => streams.ofDevice(deviceId),
    leftToday: (deviceId) => (usage === undefined ? 1 : limits.bytesPerDevicePerDay - usage.of(deviceId)),
    clock,
    onEvent: events.emit,
  });
  const watch = new StreamWatch({
    limits: {
      idleMs: limits.idleMs,
      lifetimeMs: limits.lifetimeMs,
      bytesPerStream: limits.bytesPerStream,
      bytesPerDevicePerDay: limits.bytesPerDevicePerDay,
    },
    counters: (streamId) => gateway.counters(streamId),
    identityOf: (streamId) => live.get(streamId),
    sessionOf: (streamId) => sessions.of(live.get(streamId)),
    end: options.endStream,
    usage,
    clock,
    onEvent: events.emit,
  });
  const counts = new LimitCounts();
  events.subscribe(watch.observe);
  events.subscribe(counts.observe);
  const row = (name: LimitName, unit: LimitView['unit'], used: number | undefined): LimitView => ({
    name,
    unit,
    limit: limits[name] === 0 ? null : limits[name],
    used: used ?? null,
    reached: counts.of(name),
  });
  return {
    admission,
    view() {
      const { nearest } = watch;
      return [
        row('streams', 'streams', gateway.streams + gateway.waitingConnections),
        row('streamsPerDevice', 'streams', streams.mostOfOneDevice),
        row('newStreamsPerSecond', 'streams', admission.newStreams),
        row('newStreamsPerSecondPerDevice', 'streams', admission.mostNewStreamsOfOneDevice),
        row('heldRequests', 'requests', admission.held),
        row('idleMs', 'ms', nearest.idleMs),
        row('lifetimeMs', 'ms', nearest.lifetimeMs),
        row('bytesPerStream', 'bytes', nearest.bytesPerStream),
        row('bytesPerDevicePerDay', 'bytes', nearest.bytesPerDevicePerDay),
      ];
    },
    async close() {
      watch.stop();
      await usage?.save();
    },
  };
}

function openUsage({ usage, clock, events }: StreamLimitsOptions): Promise<DailyUsage> {
  const onFailed = (error: unknown) => {
    const problem = `The bytes that devices have carried today could not be stored: ${(error as Error).message}`;
    events.emit({ type: 'storage-failed', problem });
  };
  return DailyUsage.open({ store: usage, clock, onFailed });
}
