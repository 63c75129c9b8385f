import { LIMITS } from '@culvert/protocol';
import type { Clock, Timer } from './clock.ts';

/** The connection of a {@link Liveness}. */
export interface LivenessOptions {
  readonly clock: Clock;
  /** Milliseconds between pings; 0 never pings and never finds the peer lost. */
  readonly pingMs: number;
  /** Sends a ping and calls `flushed` when it was handed to the kernel. */
  readonly ping: (flushed: () => void) => void;
  /** Called once, when the peer is lost. */
  readonly lost: () => void;
}

/**
 * Sends pings and reports when the peer is lost: after two intervals without a pong or data.
 *
 * A full buffer must not become an error. A pong can be late because this side does not read (its own back-pressure holds the pong),
 * or because the peer does not read (its back-pressure holds our data and the ping behind it, as when somebody suspends `scp`). So silence counts
 * only while this side reads, and after this side has sent data the peer gets `LIMITS.stallMs` instead, the gateway's own limit for a stalled write.
 */
export class Liveness {
  readonly #options: LivenessOptions;
  #timer: Timer | undefined;
  #receivedAt = 0;
  /** Data went out since the last pong; and in the interval before it, which the peer may have begun to hold back after its pong. */
  #sentSince = false;
  #sentBefore = false;
  #received = false;
  #pingQueued = false;
  #paused = false;
  readonly #flushed = (): void => {
    this.#pingQueued = false;
  };

  constructor(options: LivenessOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#options.pingMs === 0 || this.#timer !== undefined) return;
    this.#receivedAt = this.#options.clock.now();
    this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** Whether this side stopped reading; time without reading does not count. */
  set paused(paused: boolean) {
    this.#paused = paused;
    if (!paused) this.#receivedAt = this.#options.clock.now();
  }

  /** A pong arrived. */
  receivedPong(): void {
    this.#receivedAt = this.#options.clock.now();
    this.#sentBefore = this.#sentSince;
    this.#sentSince = false;
  }

  /** Data arrived: the peer is alive, though its pong may still be queued behind more data. */
  receivedData(): void {
    this.#received = true;
  }

  /** Data is being sent. */
  sentData(): void {
    this.#sentSince = true;
  }

  #arm(): void {
    this.#timer = this.#options.clock.setTimer(this.#options.pingMs, () => this.#tick());
  }

  #tick(): void {
    const { clock, pingMs, ping, lost } = this.#options;
    if (this.#received) this.#receivedAt = clock.now();
    this.#received = false;
    const patienceMs = this.#sentSince || this.#sentBefore ? Math.max(LIMITS.stallMs, 2 * pingMs) : 2 * pingMs;
    if (!this.#paused && clock.now() - this.#receivedAt > patienceMs) {
      lost();
      return;
    }
    this.#arm();
    // One ping at a time: behind a full buffer they would pile up.
    if (this.#pingQueued) return;
    this.#pingQueued = true;
    ping(this.#flushed);
  }
}
