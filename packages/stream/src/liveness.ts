import { LIMITS } from '@culvert/protocol';
import type { Clock, Timer } from './clock.ts';

/** How a {@link Liveness} uses its connection. */
export interface LivenessOptions {
  readonly clock: Clock;
  /** Milliseconds between pings; 0 sends no pings and never reports the peer as lost. */
  readonly pingMs: number;
  /** Sends a ping and calls `flushed` when the ping has been passed to the kernel. */
  readonly ping: (flushed: () => void) => void;
  /** Called once, when the peer is lost. */
  readonly lost: () => void;
}

/**
 * Sends pings and reports when the peer is lost: after two intervals without a pong or data.
 *
 * A full buffer must not cause an error, but it can delay a pong in two ways. If this side does not read, its back-pressure holds back the pong.
 * If the peer does not read (for example because a user suspends `scp`), the peer's back-pressure holds back this side's data and the ping behind
 * it. Therefore silence counts only while this side reads, and after this side has sent data, the limit is at least `LIMITS.stallMs`, the
 * gateway's limit for a stalled write.
 */
export class Liveness {
  readonly #options: LivenessOptions;
  #timer: Timer | undefined;
  #receivedAt = 0;
  /** Data was sent since the last pong. */
  #sentSince = false;
  /** Data was sent between the last two pongs. The peer may have stopped reading that data after its last pong. */
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

  /** Whether this side has stopped reading. Time without reading does not count as silence. */
  set paused(paused: boolean) {
    this.#paused = paused;
    if (!paused) this.#receivedAt = this.#options.clock.now();
  }

  /** Must be called when a pong arrives. */
  receivedPong(): void {
    this.#receivedAt = this.#options.clock.now();
    this.#sentBefore = this.#sentSince;
    this.#sentSince = false;
  }

  /** Must be called when data arrives: the peer is alive, even if its pong is still queued behind more data. */
  receivedData(): void {
    this.#received = true;
  }

  /** Must be called when data is sent. */
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
    const limitMs = this.#sentSince || this.#sentBefore ? Math.max(LIMITS.stallMs, 2 * pingMs) : 2 * pingMs;
    if (!this.#paused && clock.now() - this.#receivedAt > limitMs) {
      lost();
      return;
    }
    this.#arm();
    // At most one ping is queued, because pings would accumulate behind a full buffer.
    if (this.#pingQueued) return;
    this.#pingQueued = true;
    ping(this.#flushed);
  }
}
