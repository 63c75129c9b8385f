import { type Clock, delay } from '@culvert/stream';
import type { Checkpoint } from './checkpoint.ts';

/** Sends a checkpoint to another machine. @throws when that failed; it is then called again */
export type SendCheckpoint = (checkpoint: Checkpoint, signal: AbortSignal) => Promise<void>;

/** Maximum queued checkpoints while the receiver is unreachable: more than a day's at one every ten minutes. Each covers those before it, so the oldest is dropped first. */
const MAX_WAITING = 256;

/** Milliseconds before a retry: starts at the first, doubles up to the second. */
const RETRY_MS = { first: 1_000, longest: 60_000 };

/** Milliseconds for sending the queue when the hub stops. */
const CLOSE_MS = 5_000;

/** Sends checkpoints to another machine, in order, and retries while the receiver is unreachable. */
export class CheckpointOutbox {
  readonly #send: SendCheckpoint;
  readonly #clock: Clock;
  readonly #waiting: Checkpoint[] = [];
  /** Ends the pauses between attempts and, when the final grace period is over, the attempt under way. */
  readonly #closing = new AbortController();
  readonly #cut = new AbortController();
  #running: Promise<void> | undefined;
  #failures = 0;

  constructor(options: { send: SendCheckpoint; clock: Clock }) {
    this.#send = options.send;
    this.#clock = options.clock;
  }

  /** Queued checkpoints. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Failed attempts since the start. */
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

  /** One last attempt to send the queue, five seconds at most. */
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
        // It may have been dropped from the queue meanwhile.
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
