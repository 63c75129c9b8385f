import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import type { LogTarget } from '../resource-log/log-delivery.ts';
import type { LogRecord } from '../resource-log/log-entry.ts';

/** Records as JSON lines to a stream. A reader that does not take them holds up nothing but its own queue. */
export class StreamTarget implements LogTarget {
  readonly #output: Writable;
  readonly #owned: boolean;
  #broken: Error | undefined;

  /** @param options.owned whether closing the target closes the stream */
  constructor(output: Writable, options: { owned: boolean }) {
    this.#output = output;
    this.#owned = options.owned;
    output.on('error', this.#onError);
  }

  deliver(batch: readonly LogRecord[], signal: AbortSignal): Promise<number> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      // A write cannot be taken back; that nobody waits for it any more is all there is to do.
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
    if (this.#owned) this.#output.destroy();
    else this.#output.off('error', this.#onError);
    return Promise.resolve();
  }

  readonly #onError = (error: Error): void => {
    this.#broken = error;
  };
}

/**
 * Records to this process's standard output. Node writes to a pipe that is its standard output and waits until the reader has taken it, which
 * would hold up every stream of the hub: so a pipe is opened once more, for writing without waiting.
 */
export function stdoutTarget(): StreamTarget {
  const pipe = pipeOfStdout();
  return pipe === undefined
    ? new StreamTarget(process.stdout, { owned: false })
    : new StreamTarget(pipe, { owned: true });
}

function pipeOfStdout(): Socket | undefined {
  if (!fstatSync(1).isFIFO()) return undefined;
  let fd: number | undefined;
  try {
    fd = openSync('/dev/stdout', constants.O_WRONLY | constants.O_NONBLOCK);
    return new Socket({ fd, readable: false, writable: true });
  } catch {
    // Without /proc there is no second way in: the first is taken.
    if (fd !== undefined) closeSync(fd);
    return undefined;
  }
}
