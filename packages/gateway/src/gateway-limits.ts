import { LIMITS } from '@culvert/protocol';

/** The configurable limits of a gateway. */
export interface GatewayLimits {
  /** Maximum connections that wait for their other side. Each may buffer 64 KiB of frames. Default 10,000. */
  readonly maxWaiting: number;
  /** Maximum streams, waiting or established. Each established stream has two sockets. Default 25,000. */
  readonly maxStreams: number;
  /** Milliseconds between pings to clients that support them, 0 for none. Two unanswered pings end the stream. Default 25,000. */
  readonly pingMs: number;
  /**
   * Milliseconds without a byte after which a half-closed stream fails: one direction has ended, and the other one is silent for this long. While
   * bytes flow there is no limit. Default 60,000: see `LIMITS.halfCloseMs`.
   */
  readonly halfCloseMs: number;
  /** Milliseconds a client has to answer a close frame with an error code, and to end its TCP connection after the last frame. Default 5,000. */
  readonly lingerMs: number;
  /** Milliseconds without progress of a write that end the stream. Default 300,000. */
  readonly stallMs: number;
}

/** The defaults of {@link GatewayLimits}. */
export const GATEWAY_LIMITS: GatewayLimits = {
  maxWaiting: 10_000,
  maxStreams: 25_000,
  pingMs: LIMITS.pingMs,
  halfCloseMs: LIMITS.halfCloseMs,
  lingerMs: LIMITS.lingerMs,
  stallMs: LIMITS.stallMs,
};
