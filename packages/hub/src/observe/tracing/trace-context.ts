import { randomBytes } from 'node:crypto';

/** Where a span belongs: in which trace, and under which other span. */
export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits; undefined: it is the first of its trace. */
  readonly parentSpanId: string | undefined;
  /** Whether it is exported. */
  readonly sampled: boolean;
}

/** The bits of a trace id that are random by the recommendation, W3C Trace Context level 2 §3.2.2.5: its last 56. */
const RANDOM_DIGITS = 14;

/**
 * Joins the caller's trace, and follows its decision whether that is recorded; without one begins another, of which `ratio` are.
 * @param traceParent a well-formed `traceparent` header, version 00
 * @param ratio 0 to 1
 */
export function traceContext(traceParent: string | undefined, ratio: number): TraceContext {
  const [, traceId, parentSpanId, flags] = traceParent?.split('-') ?? [];
  if (traceId !== undefined && parentSpanId !== undefined && flags !== undefined) {
    return { traceId, parentSpanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
  }
  const own = randomBytes(16).toString('hex');
  const share = Number.parseInt(own.slice(-RANDOM_DIGITS), 16) / 16 ** RANDOM_DIGITS;
  return { traceId: own, parentSpanId: undefined, sampled: share < ratio };
}

/** A new span's id. */
export function newSpanId(): string {
  return randomBytes(8).toString('hex');
}
