import type { Clock } from '@culvert/stream';
import type { RestApi } from './api/app.ts';
import type { Subscribers } from './api/event-stream/subscribers.ts';
import type { PolicyFileWriter } from './auth/policy-file-writer.ts';
import type { HostNames } from './config/host-names.ts';
import type { Streaming } from './handshake/create-streaming.ts';
import type { Listeners } from './listeners/listeners.ts';
import type { Readiness } from './listeners/readiness.ts';
import type { Audit } from './observe/audit/open-audit.ts';
import type { EventBus } from './observe/event-bus.ts';
import type { EventSink } from './observe/events.ts';
import type { RecentDisconnects } from './observe/last-disconnect.ts';
import type { LiveStreams } from './observe/live-streams.ts';
import type { HubMetrics } from './observe/metrics/hub-metrics.ts';
import type { ResourceLog } from './observe/resource-log/open-resource-log.ts';
import type { Tracing } from './observe/tracing/open-tracing.ts';
import type { Store } from './registry/open-store.ts';
import type { RegistryListeners } from './registry/registry-listeners.ts';
import type { Certificates } from './tls/open-certificates.ts';

export interface HubOptions {
  /** Default: the system clock. */
  readonly clock?: Clock;
  /** Subscribers that receive all events from the first one on, such as a log. */
  readonly sinks?: readonly EventSink[];
  /** For tests: another entry file for the gateway's worker threads. */
  readonly gatewayEntry?: URL;
}

/** The parts that exist before any file or listener is opened: the events and their subscribers without resources of their own. */
export interface HubCore {
  readonly clock: Clock;
  readonly events: EventBus;
  /** Aborted when the hub stops; callers receive its reason as their error. */
  readonly draining: AbortController;
  readonly readiness: Readiness;
  readonly live: LiveStreams;
  readonly metrics: HubMetrics;
  readonly registryListeners: RegistryListeners;
  /** The version of this package. */
  readonly version: string;
  /** `HOST:PORT` of the gateway in grants; empty until it is known. */
  readonly gateway: { name: string };
}

/** Event subscribers that have files, threads or connections of their own. */
export interface HubObservers {
  readonly tracing: Tracing;
  readonly resourceLog: ResourceLog;
  readonly lastDisconnects: RecentDisconnects;
  readonly audit: Audit;
}

/** Everything a running hub consists of. */
export interface HubParts extends HubCore, HubObservers {
  /** Milliseconds that running streams have to end on their own when the hub stops. */
  readonly drainMs: number;
  readonly store: Store;
  readonly certificates: Certificates;
  readonly listeners: Listeners;
  readonly names: HostNames;
  readonly policyFiles: PolicyFileWriter;
  readonly streaming: Streaming;
  readonly subscribers: Subscribers;
  readonly api: RestApi;
}

/** The parts opened so far, so that they can be closed when the start fails. */
export type OpenedParts = { -readonly [Name in keyof HubParts]?: HubParts[Name] };
