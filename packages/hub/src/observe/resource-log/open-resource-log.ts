import { join } from 'node:path';
import type { Identity } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { DiagnosticSetting, LogsConfig } from '../../config/logs-config.ts';
import { type Diagnostics, openDiagnostics } from '../diagnostics/open-diagnostics.ts';
import type { EventBus } from '../event-bus.ts';
import type { LastDisconnectOf } from '../last-disconnect.ts';
import type { LiveStreams } from '../live-streams.ts';
import { type LogReader, LogStore } from '../log-store/log-store.ts';
import { loggedDisconnects } from '../log-store/logged-disconnect.ts';
import { ConnectionQuota } from './connection-quota.ts';
import { LogRecorder } from './recorder.ts';

export interface ResourceLogOptions {
  readonly dataDir: string;
  readonly logs: LogsConfig;
  readonly diagnostics: readonly DiagnosticSetting[];
  /** The default of `resourceId` and `location`. */
  readonly hostName: string;
  readonly clock: Clock;
  readonly events: EventBus;
  /** The live streams; must have subscribed to `events` before this function is called. */
  readonly streams: LiveStreams;
  /** Whether an identity that was just looked up is registered. */
  readonly isRegistered: (identity: Identity) => boolean;
}

/** The resource log and its destinations: one recorder writes it, many subscribers read it. */
export interface ResourceLog {
  readonly reader: LogReader;
  /** Finds in the log when and why a device or module last disconnected. */
  readonly lastDisconnect: LastDisconnectOf;
  /** Records lost since the start, by destination: `store` and the names of diagnostic settings. */
  readonly lost: () => ReadonlyMap<string, number>;
  /** The number of connection events since the start that were not recorded, because one device caused too many. */
  readonly unrecordedConnections: () => number;
  /** Ends all subscriptions and delivers queued records, within five seconds. */
  close(): Promise<void>;
}

/** @throws CulvertError `config_invalid` for a diagnostic setting that cannot be used */
export async function openResourceLog(options: ResourceLogOptions): Promise<ResourceLog> {
  const { dataDir, logs, clock, events, hostName } = options;
  const resource = { resourceId: logs.resourceId ?? hostName, location: logs.location ?? hostName };
  const common = { clock, onEvent: events.emit };
  const diagnostics: Diagnostics = await openDiagnostics(options.diagnostics, { ...common, resource });
  const retention = { days: logs.retentionDays, maxBytes: logs.maxBytes };
  const store = new LogStore({ directory: join(dataDir, 'logs'), retention, ...common });
  const recorder = new LogRecorder({
    clock,
    resource,
    streams: options.streams,
    isRegistered: options.isRegistered,
    onRecord: (record) => {
      store.push(record);
      diagnostics.push(record);
    },
  });
  const quota = new ConnectionQuota({ clock, onEvent: recorder.observe });
  const unsubscribe = events.subscribe(quota.observe);
  return {
    reader: store,
    lastDisconnect: loggedDisconnects(store),
    lost: () =>
      new Map([['store', store.lost], ...diagnostics.deliveries.map(({ name, lost }) => [name, lost] as const)]),
    unrecordedConnections: () => quota.unrecorded,
    async close() {
      unsubscribe();
      quota.flush();
      await Promise.all([store.close(), diagnostics.close()]);
    },
  };
}
