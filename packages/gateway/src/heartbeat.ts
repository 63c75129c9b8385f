import type { Clock, Timer } from '@culvert/stream';
import { controlFrame, OPCODE } from './frame-header.ts';

/** Consecutive intervals without any byte after a ping, after which a client counts as lost (docs/protocol: pings). */
const MAX_MISSED = 2;

const PING = controlFrame(OPCODE.ping, Buffer.alloc(0));

/** The connection of a heartbeat. */
export interface HeartbeatTarget {
  /** Sends the frame as soon as the connection has room, and calls back when it was sent. */
  ping(frame: Buffer, sent: () => void): void;
  lost(): void;
}

/** Pings a client that declared support for pings, and reports it lost when nothing arrives for two intervals. */
export class Heartbeat {
  /** Set when any byte arrived from the client. */
  received = false;
  /** Whether reading from the client is paused, so that its answers cannot arrive: it is then not considered lost. */
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
    // A client whose receive side is blocked may not see the ping; the stall limit on writes handles that case.
    this.#pinged = false;
    this.#target.ping(PING, this.#onSent);
    this.#timer = this.#clock.setTimer(this.#intervalMs, this.#beat);
  };
}
