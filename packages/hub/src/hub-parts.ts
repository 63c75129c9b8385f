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
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Subscribers from before the first event on, such as a log. */
  readonly sinks?: readonly EventSink[];
  /** For tests: another entry file for the gateway's worker threads. */
  readonly gatewayEntry?: URL;
}

/** What exists before anything is opened: the events and what only listens to them. */
export interface HubCore {
  readonly clock: Clock;
  readonly events: EventBus;
  /** Aborted when the hub stops; its reason is what callers are told. */
  readonly draining: AbortController;
  readonly readiness: Readiness;
  readonly live: LiveStreams;
  readonly metrics: HubMetrics;
  readonly registryListeners: RegistryListeners;
  /** The version of this package. */
  readonly version: string;
  /** `HOST:PORT` that grants name; empty until it is known. */
  readonly gateway: { name: string };
}

/** Subscribers of the events that have files, threads or connections of their own. */
export interface HubObservers {
  readonly tracing: Tracing;
  readonly resourceLog: ResourceLog;
  readonly lastDisconnects: RecentDisconnects;
  readonly audit: Audit;
}

/** Everything a running hub consists of. */
export interface HubParts extends HubCore, HubObservers {
  /** Milliseconds running streams get to end when the hub stops. */
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

/** The parts opened so far, so that a start that fails can be undone. */
export type OpenedParts = { -readonly [Name in keyof HubParts]?: HubParts[Name] };
