import type { Clock, Timer } from '@culvert/stream';
import { controlFrame, OPCODE } from './frame-header.ts';

/** Intervals in a row without a word after a ping, after which a client is lost (docs/protocol: pings). */
const MAX_MISSED = 2;

const PING = controlFrame(OPCODE.ping, Buffer.alloc(0));

/** What a heartbeat does to its connection. */
export interface Heart {
  /** Sends the frame as soon as the connection takes something, and tells when it has been given to it. */
  ping(frame: Buffer, sent: () => void): void;
  lost(): void;
}

/** Pings a client that declared it copes, and notices when it answers nothing for two intervals. */
export class Heartbeat {
  /** Set when anything at all came from the client. */
  heard = false;
  /** Whether the client is paused, so that its answers cannot be read: then nothing is held against it. */
  deaf = false;

  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #heart: Heart;
  #timer: Timer | undefined;
  #pinged = false;
  #missed = 0;

  constructor(clock: Clock, intervalMs: number, heart: Heart) {
    this.#clock = clock;
    this.#intervalMs = intervalMs;
    this.#heart = heart;
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
    this.#missed = this.#pinged && !this.heard && !this.deaf ? this.#missed + 1 : 0;
    if (this.#missed >= MAX_MISSED) {
      this.#heart.lost();
      return;
    }
    this.heard = false;
    // A client that takes nothing cannot be blamed for its silence; the limit on a stuck write is for that one.
    this.#pinged = false;
    this.#heart.ping(PING, this.#onSent);
    this.#timer = this.#clock.setTimer(this.#intervalMs, this.#beat);
  };
}
