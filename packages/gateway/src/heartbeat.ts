import type { Clock, Timer } from '@culvert/stream';
import { controlFrame, OPCODE } from './frame-header.ts';

/** Consecutive intervals without any byte from the client after a ping, after which it counts as lost (docs/protocol: pings). */
const MAX_MISSED = 2;

const PING = controlFrame(OPCODE.ping, Buffer.alloc(0));

/** The connection that a heartbeat checks. */
export interface HeartbeatTarget {
  /** Sends the frame as soon as the connection has room; calls `sent` when it was sent. */
  ping(frame: Buffer, sent: () => void): void;
  /** The client counts as lost. */
  lost(): void;
}

/** Pings a client that declared support for pings, and reports it lost when nothing arrives for two intervals. */
export class Heartbeat {
  /** Must be set to true whenever bytes are received from the client. */
  received = false;
  /** Whether reading from the client is paused. Its answers cannot be received then, so it does not count as lost. */
  paused = false;

  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #target: HeartbeatTarget;
  #timer: Timer | undefined;
  #pinged = false;
  #missed = 0;

  constructor(clock: Clock, intervalMs: number, target: HeartbeatTarget) {
    this.#clock = clock;
    this.#intervalMs = intervalMs;
    this.#target = target;
  }

  start(): void {
    this.#timer ??= this.#clock.setTimer(this.#intervalMs, this.#beat);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  readonly #onSent = (): void => {
    this.#pinged = true;
  };

  readonly #beat = (): void => {
    this.#missed = this.#pinged && !this.received && !this.paused ? this.#missed + 1 : 0;
    if (this.#missed >= MAX_MISSED) {
      this.#target.lost();
      return;
    }
    this.received = false;
    // A ping that cannot be sent because the client does not read is not counted. The stall limit on writes handles that case.
    this.#pinged = false;
    this.#target.ping(PING, this.#onSent);
    this.#timer = this.#clock.setTimer(this.#intervalMs, this.#beat);
  };
}
