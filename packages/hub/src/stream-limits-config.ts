import { z } from 'zod';

const count = (fallback: number) => z.number().int().min(1).max(10_000_000).default(fallback);
/** 0: no limit. The least a limit may be is a second, since streams are looked at once a second. */
const noneOrMilliseconds = z.union([z.literal(0), z.number().int().min(1_000).max(31_536_000_000)]).default(0);
const noneOrBytes = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0);

/** What an administrator may set for streams, beside what bounds the hub itself (docs/operating/limits.md). */
export const streamLimits = {
  /** Streams to one device and its modules at once: what its agent carries unless told otherwise, so that one device cannot take the hub's room. */
  streamsPerDevice: count(1_000),
  /** New streams a second over the whole hub: about what one processor core can hand out; beyond, all of them would be late. */
  newStreamsPerSecond: count(2_000),
  /** New streams a second to one device: a browser opens six connections at once, a scanner thousands. */
  newStreamsPerSecondPerDevice: count(200),
  /** Milliseconds without a byte either way after which a stream is ended. Default none: an idle shell is not a mistake. */
  idleMs: noneOrMilliseconds,
  /** Milliseconds after which a stream is ended however busy. Default none: TCP has no such limit. */
  lifetimeMs: noneOrMilliseconds,
  /** Payload bytes, both ways together, after which a stream is ended. Default none. */
  bytesPerStream: noneOrBytes,
  /** Payload bytes of a device and its modules on one day of UTC, both ways together. Default none: for links that are paid by the byte. */
  bytesPerDevicePerDay: noneOrBytes,
};
