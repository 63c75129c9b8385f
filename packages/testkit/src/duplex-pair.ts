import { Duplex } from 'node:stream';

/**
 * Two connected ends in one process. Data that is written to one end is read from the other, with back-pressure and half-close, as with a pair of
 * sockets. Destroying one end destroys the other, with the error `ECONNRESET` unless both directions had ended.
 */
export function duplexPair(): [Duplex, Duplex] {
  const a = new End();
  const b = new End();
  a.peer = b;
  b.peer = a;
  return [a, b];
}

class End extends Duplex {
  peer: End | undefined;
  /** The callback of the peer's write, which waits until this end reads again. */
  #taken: (() => void) | undefined;

  override _read(): void {
    const taken = this.#taken;
    this.#taken = undefined;
    taken?.();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.peer?.deliver(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.peer?.deliver(null, done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const { peer } = this;
    const clean = this.readableEnded && this.writableFinished;
    if (!clean) setImmediate(() => peer?.reset());
    done(error);
  }

  deliver(chunk: Buffer | null, done: () => void): void {
    if (chunk === null || chunk.length === 0) {
      if (chunk === null) this.push(null);
      done();
      return;
    }
    // The callback is called asynchronously, as a socket does, because a long chain of synchronous writes would overflow the stack.
    if (this.push(chunk)) process.nextTick(done);
    else this.#taken = done;
  }

  reset(): void {
    if (!this.destroyed) this.destroy(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }));
  }
}
