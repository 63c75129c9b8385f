import { abortReason } from '@culvert/stream';

/** Streams asked for at once: half of what a hub asks a device at once unless told otherwise (`offersPerDevice`), so that two proxies do. */
export const MAX_OPENINGS = 32;

/**
 * Limits how many streams are opened at a time; the others wait in a queue: a browser opens dozens of connections in one moment, which a hub would
 * refuse as too many offers. The line is no longer than there are connections.
 */
export class Openings {
  readonly #limit: number;
  #open = 0;
  readonly #line = new Set<() => void>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Does `open` when it is its turn.
   * @throws the signal's reason when it aborts before; what `open` throws
   */
  async run<T>(signal: AbortSignal, open: () => Promise<T>): Promise<T> {
    if (this.#open >= this.#limit) await this.#turn(signal);
    else this.#open++;
    try {
      return await open();
    } finally {
      this.#leave();
    }
  }

  /** Resolves with the place of one that has left. */
  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const enter = (): void => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      const giveUp = (): void => {
        this.#line.delete(enter);
        reject(abortReason(signal));
      };
      signal.addEventListener('abort', giveUp, { once: true });
      this.#line.add(enter);
    });
  }

  #leave(): void {
    const [next] = this.#line;
    if (next === undefined) {
      this.#open--;
      return;
    }
    this.#line.delete(next);
    next();
  }
}
