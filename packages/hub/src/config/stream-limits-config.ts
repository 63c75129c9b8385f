import { z } from 'zod';

const count = (fallback: number) => z.number().int().min(1).max(10_000_000).default(fallback);
/** 0: no limit. Otherwise at least one second, since streams are checked once a second. */
const noneOrMilliseconds = z.union([z.literal(0), z.number().int().min(1_000).max(31_536_000_000)]).default(0);
const noneOrBytes = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0);

/** Limits on streams that an administrator may set, in addition to those that protect the hub itself (docs/operating/limits.md). */
export const streamLimits = {
  /** Maximum concurrent streams to one device and its modules: the agent's default, so that one device cannot use up the hub's capacity. */
  streamsPerDevice: count(1_000),
  /** Maximum new streams per second of the whole hub: about as many as one processor core can handle; with more, all streams would be slow. */
  newStreamsPerSecond: count(2_000),
  /** Maximum new streams per second to one device: a browser opens six connections at once, a scanner thousands. */
  newStreamsPerSecondPerDevice: count(200),
  /** Milliseconds without a byte in either direction after which a stream is ended. Default none: an idle shell is normal. */
  idleMs: noneOrMilliseconds,
  /** Maximum lifetime of a stream in milliseconds. Default none: TCP has no such limit. */
  lifetimeMs: noneOrMilliseconds,
  /** Maximum payload bytes of a stream, both directions together. Default none. */
  bytesPerStream: noneOrBytes,
  /** Maximum payload bytes of a device and its modules per UTC day, both directions together. Default none; meant for networks that charge by the byte. */
  bytesPerDevicePerDay: noneOrBytes,
};
