/** An attribute in OTLP's JSON encoding, in which 64-bit numbers are strings. */
export interface OtlpAttribute {
  readonly key: string;
  readonly value: { readonly stringValue: string } | { readonly intValue: string };
}

/** A span in OTLP's JSON encoding (opentelemetry-proto, trace/v1): ids are hexadecimal, times are nanoseconds as strings. */
export interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly OtlpAttribute[];
  readonly events: readonly { readonly timeUnixNano: string; readonly name: string }[];
  readonly status: { readonly code?: number; readonly message?: string };
}

/** SPAN_KIND_SERVER: the span describes the handling of a request by a server. */
export const SERVER_SPAN = 2;

/** STATUS_CODE_ERROR: the operation of the span failed. */
export const ERROR_STATUS = 2;

/** Converts milliseconds since the epoch to nanoseconds, as a decimal string, as OTLP requires. */
export function nanoseconds(ms: number): string {
  return `${Math.round(ms)}000000`;
}

/** Converts names and values to attributes, without those whose value is undefined. */
export function attributes(values: Readonly<Record<string, string | number | undefined>>): OtlpAttribute[] {
  return Object.entries(values).flatMap(([key, value]) => {
    if (value === undefined) return [];
    return [{ key, value: typeof value === 'number' ? { intValue: `${value}` } : { stringValue: value } }];
  });
}

/** The body of a request to `/v1/traces`. */
export function tracesRequest(spans: readonly OtlpSpan[], version: string, instance: string): string {
  const resource = {
    attributes: attributes({
      'service.name': 'culvert-hub',
      'service.version': version,
      'service.instance.id': instance,
    }),
  };
  return JSON.stringify({
    resourceSpans: [{ resource, scopeSpans: [{ scope: { name: 'culvert', version }, spans }] }],
  });
}
