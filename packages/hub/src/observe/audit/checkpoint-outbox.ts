import { type Clock, delay } from '@culvert/stream';
import type { Checkpoint } from './checkpoint.ts';

/** Takes a checkpoint away from the hub. @throws when it could not; it is asked again then */
export type SendCheckpoint = (checkpoint: Checkpoint, signal: AbortSignal) => Promise<void>;

/** Checkpoints that wait while the receiver is away, at one each ten minutes more than a day's; each covers those before it, so the oldest go first. */
const MAX_WAITING = 256;

/** Milliseconds before another try: doubled each time, at most the second. */
const RETRY_MS = { first: 1_000, longest: 60_000 };

/** Milliseconds that what waits gets when the hub stops. */
const CLOSE_MS = 5_000;

/** Sends checkpoints away from the hub, in order, over outages of whoever receives them. */
export class CheckpointOutbox {
  readonly #send: SendCheckpoint;
  readonly #clock: Clock;
  readonly #waiting: Checkpoint[] = [];
  /** Ends the waits between tries, and after the last grace the try under way. */
  readonly #closing = new AbortController();
  readonly #cut = new AbortController();
  #running: Promise<void> | undefined;
  #failures = 0;

  constructor(options: { send: SendCheckpoint; clock: Clock }) {
    this.#send = options.send;
    this.#clock = options.clock;
  }

  /** Those that wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Tries that failed since the start. */
  get failures(): number {
    return this.#failures;
  }

  /** Never throws and never blocks. */
  add(checkpoint: Checkpoint): void {
    if (this.#waiting.length === MAX_WAITING) this.#waiting.shift();
    this.#waiting.push(checkpoint);
    this.#running ??= this.#sendAll().finally(() => {
      this.#running = undefined;
    });
  }

  /** One last try for what waits, five seconds at most. */
  async close(): Promise<void> {
    this.#closing.abort();
    const timer = this.#clock.setTimer(CLOSE_MS, () => this.#cut.abort());
    await this.#running;
    timer.cancel();
  }

  async #sendAll(): Promise<void> {
    let wait = RETRY_MS.first;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const last = this.#closing.signal.aborted;
      try {
        await this.#send(next, this.#cut.signal);
        // It may have been pushed out meanwhile.
        if (this.#waiting[0] === next) this.#waiting.shift();
        wait = RETRY_MS.first;
      } catch {
        this.#failures++;
        if (last) return;
        await delay(this.#clock, wait, this.#closing.signal).catch(() => undefined);
        wait = Math.min(2 * wait, RETRY_MS.longest);
      }
    }
  }
}
