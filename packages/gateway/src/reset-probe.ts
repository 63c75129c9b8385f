import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '@culvert/stream';

/** Milliseconds between two probes. */
const INTERVAL_MS = 1_000;

const NOTHING = Buffer.alloc(0);

/**
 * Notices that a client reset its connection while it is paused, when nothing is read and so nothing would be seen: an empty
 * write reaches the kernel, which answers with the reset, and sends nothing to the client.
 */
export class ResetProbe {
  readonly #socket: Duplex;
  readonly #clock: Clock;
  #timer: Timer;

  constructor(socket: Duplex, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
    this.#timer = clock.setTimer(INTERVAL_MS, this.#probe);
  }

  stop(): void {
    this.#timer.cancel();
  }

  readonly #probe = (): void => {
    this.#socket.write(NOTHING);
    this.#timer = this.#clock.setTimer(INTERVAL_MS, this.#probe);
  };
}
