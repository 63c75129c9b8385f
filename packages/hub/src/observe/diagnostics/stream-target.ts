import type { Writable } from 'node:stream';
import type { LogTarget } from '../resource-log/log-delivery.ts';
import type { LogRecord } from '../resource-log/log-entry.ts';

/**
 * Writes records as JSON lines to a stream owned by another part of the program, such as standard output. A slow reader delays only
 * its own queue: Node writes to pipes and sockets without blocking, standard output included.
 */
export class StreamTarget implements LogTarget {
  readonly #output: Writable;
  #broken: Error | undefined;

  constructor(output: Writable) {
    this.#output = output;
    output.on('error', this.#onError);
  }

  deliver(batch: readonly LogRecord[], signal: AbortSignal): Promise<number> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      // A write cannot be undone; all that can be done is to stop waiting for it.
      const onAbort = () => reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#output.write(batch.map(({ json }) => `${json}\n`).join(''), (error) => {
        signal.removeEventListener('abort', onAbort);
        if (error) reject(error);
        else resolve(0);
      });
    });
  }

  close(): Promise<void> {
    this.#output.off('error', this.#onError);
    return Promise.resolve();
  }

  readonly #onError = (error: Error): void => {
    this.#broken = error;
  };
}
