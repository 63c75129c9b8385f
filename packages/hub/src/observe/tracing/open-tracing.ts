import type { Clock } from '@culvert/stream';
import type { TracingConfig } from '../../config/tracing-config.ts';
import type { EventSink } from '../events.ts';
import type { LiveStreams } from '../live-streams.ts';
import { openEndpoint } from '../open-endpoint.ts';
import type { LiveStream, StreamRecord } from '../stream-record.ts';
import { handshakeSpan } from './handshake-span.ts';
import { SpanExporter } from './span-exporter.ts';
import { traceContext } from './trace-context.ts';

/** Exports the spans of handshakes to an OpenTelemetry collector. */
export interface Tracing {
  /** A sink for the hub's events. It queries `live`, so it must subscribe to the events after `live` does. */
  readonly observe: EventSink;
  /** The number of spans dropped since the start. */
  readonly dropped: () => number;
  close(): Promise<void>;
}

export interface TracingOptions {
  readonly live: Pick<LiveStreams, 'get'>;
  readonly version: string;
  /** The value of `service.instance.id`, which distinguishes this hub from others: its host name and port. */
  readonly instance: string;
  readonly clock: Clock;
}

/**
 * Exports one span for each sampled handshake when the handshake has ended. Exports nothing if `config` is undefined.
 * @throws CulvertError `config_invalid`
 */
export function openTracing(config: TracingConfig | undefined, options: TracingOptions): Tracing {
  if (config === undefined) {
    return { observe: () => undefined, dropped: () => 0, close: () => Promise.resolve() };
  }
  const { live, ...resource } = options;
  const { endpoint, headersFile, caFile } = config;
  const traces = { url: `${endpoint.replace(/\/+$/, '')}/v1/traces`, headersFile, caFile };
  const exporter = new SpanExporter({ ...resource, post: openEndpoint('tracing', traces, options) });
  const trace = (stream: LiveStream | StreamRecord) => {
    const context = traceContext(stream.traceParent, config.sampleRatio);
    if (context.sampled) exporter.add(handshakeSpan(stream, context));
  };
  return {
    observe: (event) => {
      if (event.type === 'stream-established') {
        const stream = live.get(event.streamId);
        if (stream !== undefined) trace(stream);
      } else if (event.type === 'stream-ended' && event.record.establishedAt === undefined) trace(event.record);
    },
    dropped: () => exporter.dropped,
    close: () => exporter.close(),
  };
}
