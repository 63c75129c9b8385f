import { Counter, Gauge, Histogram, Registry } from '@prometheus-io/client';
import type { EventSink } from '../events.ts';
import { CONTROL_PROTOCOLS } from '../listener.ts';
import type { LiveStreams } from '../live-streams.ts';
import { DROP_REASONS, type DropReason } from '../session-reports.ts';
import type { CarriedBothWays } from './carried-metrics.ts';
import { countedElsewhere } from './counted-elsewhere.ts';
import { EventLoopDelay } from './event-loop-delay.ts';
import { addProcessMetrics } from './process-metrics.ts';
import { streamMetrics } from './stream-metrics.ts';

/** Histogram buckets in seconds for registry calls: from a cached record to a slow disk. */
const REGISTRY_BUCKETS = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];

/** Functions that read the values kept by other parts of the hub. Each scrape calls them. */
export interface MetricSources {
  /** When the certificate expires, in milliseconds since the epoch. */
  readonly certificateNotAfter: () => number;
  readonly isReady: () => boolean;
  readonly auditRecords: () => number;
  readonly checkpointFailures: () => number;
  readonly unrecordedConnections: () => number;
  /** Reports of ends of sessions that were dropped, by reason. */
  readonly droppedReports: () => Readonly<Record<DropReason, number>>;
  /** The bytes and messages that an open stream has carried; undefined if the gateway has no stream with this id. */
  readonly carriedSoFar: (streamId: string) => CarriedBothWays | undefined;
  /** The number of records dropped, by sink. */
  readonly dropped: Readonly<Record<string, () => number>>;
}

/**
 * The hub's metrics in Prometheus's text format. Most are counted from the hub's events; some are read from {@link MetricSources} at each scrape.
 * The values of every label come from a closed list.
 */
export class HubMetrics {
  readonly #registry = new Registry();
  readonly #delay = new EventLoopDelay();
  readonly #streams: EventSink;
  readonly #attached: Gauge<'protocol'>;
  readonly #detached: Counter<'protocol' | 'error'>;
  readonly #refused: Counter<'listener' | 'error'>;
  readonly #faults: Counter;
  readonly #registryCalls: Histogram;
  #carriedSoFar: MetricSources['carriedSoFar'] = () => undefined;

  constructor(options: { readonly live: Pick<LiveStreams, 'get' | 'list'>; readonly version: string }) {
    const registers = [this.#registry];
    this.#streams = streamMetrics(this.#registry, options.live, (streamId) => this.#carriedSoFar(streamId));
    this.#attached = new Gauge({
      name: 'culvert_devices_attached',
      help: 'Control channels of devices and modules now, by how they are carried.',
      labelNames: ['protocol'] as const,
      registers,
    });
    for (const protocol of CONTROL_PROTOCOLS) this.#attached.set({ protocol }, 0);
    this.#detached = new Counter({
      name: 'culvert_device_channels_ended_total',
      help: 'Control channels that ended, by how they were carried and why.',
      labelNames: ['protocol', 'error'] as const,
      registers,
    });
    this.#refused = new Counter({
      name: 'culvert_connections_refused_total',
      help: 'Connections and requests that were turned away, by listener and why.',
      labelNames: ['listener', 'error'] as const,
      registers,
    });
    this.#faults = new Counter({
      name: 'culvert_faults_total',
      help: 'What went wrong inside where it was not foreseen, or could not be stored.',
      registers,
    });
    this.#registryCalls = new Histogram({
      name: 'culvert_registry_call_duration_seconds',
      help: 'From a call of the registry to its answer, on disk if it is a write.',
      buckets: REGISTRY_BUCKETS,
      registers,
    });
    this.#addOwn(options.version);
    addProcessMetrics(this.#registry);
  }

  /** A sink for the hub's events. It queries the live streams, so it must subscribe to the events after them. */
  readonly observe: EventSink = (event) => {
    this.#streams(event);
    switch (event.type) {
      case 'device-attached':
        this.#attached.inc({ protocol: event.protocol });
        return;
      case 'device-detached':
        this.#attached.dec({ protocol: event.protocol });
        this.#detached.inc({ protocol: event.protocol, error: event.error });
        return;
      case 'connection-refused':
        this.#refused.inc({ listener: event.listener, error: event.error });
        return;
      case 'grant-refused':
        this.#refused.inc({ listener: 'gateway', error: event.error });
        return;
      case 'fault':
      case 'storage-failed':
      case 'audit-failed':
      case 'gateway-thread-failed':
        this.#faults.inc();
    }
  };

  /** Records how long a registry call took, in seconds. */
  readonly registryCall = (seconds: number): void => this.#registryCalls.observe(seconds);

  /** Registers the metrics that each scrape reads from `sources`. Called once, when the sources exist. */
  report(sources: MetricSources): void {
    this.#carriedSoFar = sources.carriedSoFar;
    const registers = [this.#registry];
    const gauge = (name: string, help: string, read: () => number) => {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    };
    gauge(
      'culvert_certificate_expiry_timestamp_seconds',
      'When the certificate presented to clients expires, seconds since the epoch.',
      () => sources.certificateNotAfter() / 1e3,
    );
    gauge('culvert_ready', '1 while the hub takes new streams, as /readyz says.', () => (sources.isReady() ? 1 : 0));
    const audit = { name: 'culvert_audit_records_total', help: 'Records put into the audit record.' };
    countedElsewhere(this.#registry, audit, sources.auditRecords);
    const failures = {
      name: 'culvert_audit_checkpoint_send_failures_total',
      help: 'Tries to send a checkpoint away that failed.',
    };
    countedElsewhere(this.#registry, failures, sources.checkpointFailures);
    const unrecorded = {
      name: 'culvert_connection_records_left_out_total',
      help: 'Connects and disconnects of devices that the resource log left out, because one device made too many.',
    };
    countedElsewhere(this.#registry, unrecorded, sources.unrecordedConnections);
    new Counter({
      name: 'culvert_session_reports_dropped_total',
      help: 'Reports of ends of sessions that were dropped, by reason.',
      labelNames: ['reason'] as const,
      registers,
      collect() {
        this.reset();
        for (const reason of DROP_REASONS) this.inc({ reason }, sources.droppedReports()[reason]);
      },
    });
    new Counter({
      name: 'culvert_records_dropped_total',
      help: 'Records a sink had to leave out: its disk or its receiver took too little.',
      labelNames: ['sink'] as const,
      registers,
      collect() {
        this.reset();
        for (const [sink, read] of Object.entries(sources.dropped)) this.inc({ sink }, read());
      },
    });
  }

  /** All metrics in Prometheus's text format 0.0.4. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  stop(): void {
    this.#delay.stop();
  }

  #addOwn(version: string): void {
    const delay = this.#delay;
    new Gauge({
      name: 'culvert_event_loop_delay_seconds',
      help: 'How late the event loop ran what was due, by percentile of the window since the last scrape.',
      labelNames: ['percentile'] as const,
      registers: [this.#registry],
      collect() {
        const { p50, p99, max } = delay.read();
        this.set({ percentile: '50' }, p50);
        this.set({ percentile: '99' }, p99);
        this.set({ percentile: '100' }, max);
      },
    });
    new Gauge({
      name: 'culvert_build_info',
      help: 'Always 1: what runs.',
      labelNames: ['version', 'node'] as const,
      registers: [this.#registry],
    }).set({ version, node: process.versions.node }, 1);
  }
}
