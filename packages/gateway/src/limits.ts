import { LIMITS } from '@culvert/protocol';

/** The configurable limits of a gateway. */
export interface GatewayLimits {
  /** Maximum connections waiting for their other side: each may hold 64 KiB of early frames. Default 10,000. */
  readonly maxGuests: number;
  /** Maximum streams, waiting or established: each holds two sockets. Default 25,000. */
  readonly maxStreams: number;
  /** Milliseconds between pings to clients that cope with them, 0 for none; two unanswered ones end the stream. Default 25,000. */
  readonly pingMs: number;
  /** Milliseconds the other direction goes on after one side closed, and a client has to end its TCP connection. Default 5,000. */
  readonly lingerMs: number;
  /** Milliseconds without progress of a write that end the stream. Default 300,000. */
  readonly stallMs: number;
}

/** The defaults of {@link GatewayLimits}. */
export const GATEWAY_LIMITS: GatewayLimits = {
  maxGuests: 10_000,
  maxStreams: 25_000,
  pingMs: LIMITS.pingMs,
  lingerMs: LIMITS.lingerMs,
  stallMs: LIMITS.stallMs,
};
