import { LIMITS } from '@culvert/protocol';

/** The configurable limits of a gateway. */
export interface GatewayLimits {
  /** Maximum connections waiting for their other side: each may hold 64 KiB of early frames. Default 10,000. */
  readonly maxWaiting: number;
  /** Maximum streams, waiting or established: each holds two sockets. Default 25,000. */
  readonly maxStreams: number;
  /** Milliseconds between pings to clients that cope with them, 0 for none; two unanswered ones end the stream. Default 25,000. */
  readonly pingMs: number;
  /**
   * Milliseconds without a byte in the direction that goes on after the other has ended, after which the stream fails; while bytes flow there is no
   * bound. Default 60,000: see `LIMITS.halfCloseMs`.
   */
  readonly halfCloseMs: number;
  /** Milliseconds a client has to answer an error's close frame, and to end its TCP connection when all is said. Default 5,000. */
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
