import { abortReason } from '@culvert/stream';

/** Maximum stream requests at once: half of the hub's default limit of unanswered offers per device (`offersPerDevice`), so that two proxies fit. */
export const MAX_OPENINGS = 32;

/**
 * Limits how many streams are being opened at the same time; further requests wait in a queue. A browser opens dozens of connections at once, and
 * the hub would refuse that many offers. The number of open connections limits the queue.
 */
export class Openings {
  readonly #limit: number;
  #open = 0;
  readonly #queue = new Set<() => void>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Calls `open` as soon as the limit permits it.
   * @throws the signal's reason if it aborts before `open` is called; the error of `open`
   */
  async run<T>(signal: AbortSignal, open: () => Promise<T>): Promise<T> {
    if (this.#open >= this.#limit) await this.#waitForSlot(signal);
    else this.#open++;
    try {
      return await open();
    } finally {
      this.#release();
    }
  }

  /** Waits in the queue, and resolves when an opening has finished and passed on its slot. */
  #waitForSlot(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const enter = (): void => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      const giveUp = (): void => {
        this.#queue.delete(enter);
        reject(abortReason(signal));
      };
      signal.addEventListener('abort', giveUp, { once: true });
      this.#queue.add(enter);
    });
  }

  #release(): void {
    const [next] = this.#queue;
    if (next === undefined) {
      this.#open--;
      return;
    }
    this.#queue.delete(next);
    next();
  }
}
