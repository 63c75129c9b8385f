import { ERRORS } from '@culvert/protocol';
import type { HttpPost } from '../http-post.ts';
import type { LogTarget } from '../resource-log/log-delivery.ts';
import type { LogRecord, LogResource } from '../resource-log/log-entry.ts';
import { postBatch } from './post-batch.ts';

/** OTLP's numbers of severity (logs data model, "Field: SeverityNumber"). */
const SEVERITY = { Information: 9, Warning: 13, Error: 17 } as const;

/** Sends records to an OpenTelemetry collector: OTLP over HTTP in its JSON encoding (opentelemetry.io/docs/specs/otlp §JSON Protobuf Encoding). */
export class OtlpTarget implements LogTarget {
  readonly #post: HttpPost;
  readonly #resource: LogResource;

  constructor(post: HttpPost, resource: LogResource) {
    this.#post = post;
    this.#resource = resource;
  }

  async deliver(batch: readonly LogRecord[], signal: AbortSignal): Promise<number> {
    const answer = await postBatch(this.#post, JSON.stringify(otlpBody(batch, this.#resource)), signal);
    return answer === undefined ? batch.length : rejectedOf(answer, batch.length);
  }

  close(): Promise<void> {
    return this.#post.close();
  }
}

/** An `ExportLogsServiceRequest`: 64-bit numbers as strings, trace ids in hexadecimal, enums as numbers. */
export function otlpBody(batch: readonly LogRecord[], { resourceId, location }: LogResource): object {
  const resource = { 'service.name': 'culvert-hub', 'service.instance.id': resourceId, location };
  const scope = { name: 'culvert.resource-log' };
  return {
    resourceLogs: [
      { resource: { attributes: attributes(resource) }, scopeLogs: [{ scope, logRecords: batch.map(logRecord) }] },
    ],
  };
}

function logRecord(record: LogRecord): object {
  const { time, category, operation, level, error, durationMs, traceParent } = record;
  const nanoseconds = `${Math.round(time)}000000`;
  const [resultType, resultDescription] = error === undefined ? [undefined, undefined] : ERRORS[error].azure;
  // `00-TRACE-SPAN-FLAGS` (W3C Trace Context), which only well-formed ones got here as.
  const [, traceId, spanId] = traceParent?.split('-') ?? [];
  return {
    timeUnixNano: nanoseconds,
    observedTimeUnixNano: nanoseconds,
    severityNumber: SEVERITY[level],
    severityText: level,
    eventName: `${category}.${operation}`,
    body: { stringValue: operation },
    attributes: attributes({ category, resultType, resultDescription, durationMs, ...record.properties }),
    ...(traceId === undefined || spanId === undefined ? {} : { traceId, spanId }),
  };
}

type Value = string | number | boolean | null | undefined;

function attributes(values: Readonly<Record<string, Value>>): object[] {
  return Object.entries(values)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([key, value]) => ({ key, value: anyValue(value) }));
}

function anyValue(value: Value): object {
  if (typeof value === 'number') return { intValue: String(Math.round(value)) };
  return typeof value === 'boolean' ? { boolValue: value } : { stringValue: value };
}

/** The number of records that a successful response reports as rejected (`partialSuccess`); they must not be sent again. */
function rejectedOf(answer: string, sent: number): number {
  try {
    const { partialSuccess } = JSON.parse(answer) as { partialSuccess?: { rejectedLogRecords?: number | string } };
    const rejected = Number(partialSuccess?.rejectedLogRecords ?? 0);
    return Number.isInteger(rejected) ? Math.max(0, Math.min(rejected, sent)) : 0;
  } catch {
    // An empty body, or one in the binary encoding: all were taken.
    return 0;
  }
}
