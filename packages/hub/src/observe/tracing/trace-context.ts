import { randomBytes } from 'node:crypto';

/** The trace id and parent span id of a new span. */
export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits; undefined for the root of a trace. */
  readonly parentSpanId: string | undefined;
  /** Whether the span is exported. */
  readonly sampled: boolean;
}

/** Hexadecimal digits at the end of a trace id that are random (the last 56 bits; W3C Trace Context level 2 §3.2.2.5). */
const RANDOM_DIGITS = 14;

/**
 * Continues the caller's trace with its sampling decision. Without a caller's trace, starts a new one, which is sampled with probability `ratio`.
 * @param traceParent a well-formed `traceparent` header, version 00
 * @param ratio the probability of sampling a new trace, 0 to 1
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

/** Returns a new random span id. */
export function newSpanId(): string {
  return randomBytes(8).toString('hex');
}
