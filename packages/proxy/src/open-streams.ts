import { CulvertError } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';

/** One of the streams that an agent or `connect` has open. */
export interface OpenStream {
  /** Counts from 1 for the life of the proxy; tells streams apart in its messages. */
  readonly id: number;
  /** Aborts, with a CulvertError, when the stream must end now. */
  readonly signal: AbortSignal;
  /** Ends this stream now. */
  destroy(reason: CulvertError): void;
  /** Gives the place back. */
  release(): void;
}

/** The open streams of an agent or `connect`: limited in number, and each known, so that stopping can wait for them and end the rest. */
export class OpenStreams {
  readonly #limit: number;
  readonly #open = new Map<number, AbortController>();
  #last = 0;
  #onEmpty: (() => void) | undefined;

  /** @param limit how many at once; each costs two sockets and their buffers, about 200 KiB at worst */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#open.size;
  }

  /** A place, or undefined when all are taken. */
  take(): OpenStream | undefined {
    if (this.#open.size >= this.#limit) return undefined;
    this.#last += 1;
    const id = this.#last;
    const controller = new AbortController();
    this.#open.set(id, controller);
    return {
      id,
      signal: controller.signal,
      destroy: (reason) => controller.abort(reason),
      release: () => {
        this.#open.delete(id);
        if (this.#open.size === 0) this.#onEmpty?.();
      },
    };
  }

  /** Resolves when the last has ended; ends those that have not after `graceMs`, with `draining` and `text`. */
  async drain(graceMs: number, clock: Clock, text: string): Promise<void> {
    if (this.#open.size === 0) return;
    let timer: Timer | undefined;
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      timer = clock.setTimer(graceMs, () => this.destroy(new CulvertError('draining', text)));
    });
    timer?.cancel();
  }

  /** Ends all of them now. */
  destroy(reason: CulvertError): void {
    for (const controller of [...this.#open.values()]) controller.abort(reason);
  }
}
