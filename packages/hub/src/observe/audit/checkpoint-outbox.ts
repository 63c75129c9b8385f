import { type Clock, delay } from '@culvert/stream';
import type { Checkpoint } from './checkpoint.ts';

/** Sends a checkpoint to another machine. @throws if sending failed; it is then called again with the same checkpoint */
export type SendCheckpoint = (checkpoint: Checkpoint, signal: AbortSignal) => Promise<void>;

/**
 * Maximum queued checkpoints while the receiver is unreachable: more than one day of checkpoints at one every ten minutes. Each checkpoint also covers
 * the earlier records, so the oldest is dropped first.
 */
const MAX_WAITING = 256;

/** Milliseconds before a retry: `first` before the first retry, then doubled up to `longest`. */
const RETRY_MS = { first: 1_000, longest: 60_000 };

/** Milliseconds in which the queue is sent when the hub stops. */
const CLOSE_MS = 5_000;

/** Sends checkpoints to another machine in order, and retries while the receiver is unreachable. */
export class CheckpointOutbox {
  readonly #send: SendCheckpoint;
  readonly #clock: Clock;
  readonly #queue: Checkpoint[] = [];
  /** Aborted by `close()`: ends the wait before the next retry. */
  readonly #closing = new AbortController();
  /** Aborted {@link CLOSE_MS} after `close()`: ends the current attempt. */
  readonly #aborting = new AbortController();
  #running: Promise<void> | undefined;
  #failures = 0;

  constructor(options: { send: SendCheckpoint; clock: Clock }) {
    this.#send = options.send;
    this.#clock = options.clock;
  }

  /** The number of queued checkpoints. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** The number of failed attempts since the start. */
  get failures(): number {
    return this.#failures;
  }

  /** Queues a checkpoint. Never throws and never blocks. */
  add(checkpoint: Checkpoint): void {
    if (this.#queue.length === MAX_WAITING) this.#queue.shift();
    this.#queue.push(checkpoint);
    this.#running ??= this.#sendAll().finally(() => {
      this.#running = undefined;
    });
  }

  /** Makes one last attempt to send the queue, for at most five seconds. */
  async close(): Promise<void> {
    this.#closing.abort();
    const timer = this.#clock.setTimer(CLOSE_MS, () => this.#aborting.abort());
    await this.#running;
    timer.cancel();
  }

  async #sendAll(): Promise<void> {
    let wait = RETRY_MS.first;
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const last = this.#closing.signal.aborted;
      try {
        await this.#send(next, this.#aborting.signal);
        // The checkpoint may have been dropped from the queue while it was being sent.
        if (this.#queue[0] === next) this.#queue.shift();
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
