import { CulvertError } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';

/** An open stream of an agent or of `connect`. */
export interface OpenStream {
  /** Identifies the stream in events. Ids count from 1 for the life of the proxy. */
  readonly id: number;
  /** Aborts with a CulvertError when the stream must end now. */
  readonly signal: AbortSignal;
  /** Ends this stream now. */
  destroy(reason: CulvertError): void;
  /** Must be called when the stream has ended. Frees its slot. */
  release(): void;
}

/** The open streams of an agent or of `connect`. Limits their number, and on a stop waits for them to end and ends the others. */
export class OpenStreams {
  readonly #limit: number;
  readonly #open = new Map<number, AbortController>();
  #last = 0;
  #onEmpty: (() => void) | undefined;

  /** @param limit maximum open streams; each needs two sockets and their buffers, at most about 200 KiB */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Takes a slot for a new stream; returns undefined if all slots are in use. */
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

  /**
   * Resolves when all streams have ended. After `graceMs`, ends the streams that are still open with the error `draining` and `text` as its message.
   * @param beforeEnd called right before
   */
  async drain(graceMs: number, clock: Clock, text: string, beforeEnd: () => void = () => undefined): Promise<void> {
    if (this.#open.size === 0) return;
    let timer: Timer | undefined;
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      timer = clock.setTimer(graceMs, () => {
        beforeEnd();
        this.destroy(new CulvertError('draining', text));
      });
    });
    timer?.cancel();
  }

  /** Ends all streams now. */
  destroy(reason: CulvertError): void {
    for (const controller of [...this.#open.values()]) controller.abort(reason);
  }
}
