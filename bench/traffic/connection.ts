import { connect, type Socket } from 'node:net';
import { matchesPattern, patternAt } from './pattern.ts';
import { encodeRequest, UPLOAD_OFFSET } from './request.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Milliseconds without any byte after which an operation counts as stuck. */
const STUCK_MS = 30_000;
/** Bytes of the single buffer that a connection reads into, so that no chunk needs an allocation. */
const READ_BYTES = 262_144;

/** The driver's end of a connection to the target, directly or through a peer. One operation at a time. */
export class Connection {
  readonly #socket: Socket;
  readonly #unasked = (): void => {
    this.#socket.destroy(new Error('the target sent bytes that nobody asked for'));
  };
  #take: (bytes: Buffer) => void = this.#unasked;
  #fail: (error: Error) => void = () => undefined;

  constructor(address: Address) {
    this.#socket = connect({
      ...address,
      noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafe(READ_BYTES),
        callback: (length, buffer) => {
          this.#take((buffer as Buffer).subarray(0, length));
          return true;
        },
      },
    });
    this.#socket.on('timeout', () => this.#socket.destroy(new Error(`no byte for ${STUCK_MS / 1000} s`)));
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('close', () => this.#fail(new Error('the connection ended in the middle of an operation')));
  }

  /**
   * Requests bytes from the target and checks every one.
   * @returns the milliseconds from the request to the last byte
   */
  download(length: number): Promise<number> {
    let received = 0;
    const start = performance.now();
    return this.#operation((done) => {
      this.#socket.write(encodeRequest('D', length));
      return (bytes) => {
        if (!matchesPattern(bytes, received)) throw new Error(`wrong bytes after ${received} of ${length}`);
        received += bytes.length;
        if (received > length) throw new Error('more bytes came than were asked for');
        if (received === length) done(performance.now() - start);
      };
    });
  }

  /**
   * Sends bytes, which the target checks.
   * @returns the milliseconds from the request to the target's confirmation that all bytes arrived
   */
  upload(length: number): Promise<number> {
    const start = performance.now();
    return this.#operation((done) => {
      this.#socket.write(encodeRequest('U', length));
      this.#pour(0, length);
      return (bytes) => {
        if (bytes.length !== 1 || bytes[0] !== 1)
          throw new Error('the target reports that the received bytes are wrong');
        done(performance.now() - start);
      };
    });
  }

  /**
   * Sends `size` bytes `count` times, and waits each time until all have come back unchanged.
   * @returns the milliseconds of each round trip; the first one includes the time for opening the connection
   */
  pingPong(size: number, count: number): Promise<Float64Array> {
    const times = new Float64Array(count);
    let round = 0;
    let back = 0;
    let start = 0;
    return this.#operation((done) => {
      const ping = (): void => {
        start = performance.now();
        this.#socket.write(patternAt(round * size, size));
      };
      this.#socket.cork();
      this.#socket.write(encodeRequest('E', size * count));
      ping();
      this.#socket.uncork();
      return (bytes) => {
        if (!matchesPattern(bytes, round * size + back)) throw new Error(`wrong bytes in round trip ${round}`);
        back += bytes.length;
        if (back < size) return;
        times[round] = performance.now() - start;
        round += 1;
        back = 0;
        if (round === count) done(times);
        else ping();
      };
    });
  }

  /** Ends the connection; resolves when it is closed on this side. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed) resolve();
      this.#socket.once('close', () => resolve());
      this.#socket.end();
      this.#socket.destroySoon();
    });
  }

  #operation<T>(begin: (done: (result: T) => void) => (bytes: Buffer) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      this.#socket.setTimeout(STUCK_MS);
      const take = begin((result) => {
        this.#fail = () => undefined;
        this.#socket.setTimeout(0);
        this.#take = this.#unasked;
        resolve(result);
      });
      this.#take = (bytes) => {
        try {
          take(bytes);
        } catch (error) {
          this.#socket.destroy(error as Error);
        }
      };
    });
  }

  #pour(from: number, length: number): void {
    for (let sent = from; sent < length; ) {
      const piece = patternAt(UPLOAD_OFFSET + sent, length - sent);
      sent += piece.length;
      if (!this.#socket.write(piece)) {
        this.#socket.once('drain', () => this.#pour(sent, length));
        return;
      }
    }
  }
}
