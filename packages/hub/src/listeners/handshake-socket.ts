import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

export interface HandshakeSocketOptions {
  /** Bytes that may come until {@link HandshakeSocket.open}. */
  readonly maxBytes: number;
  /** Asked before TLS gets a piece; on false the connection is ended by who was asked. */
  readonly mayGoOn: () => boolean;
  /** More came: the connection is ended. */
  readonly onTooLong: () => void;
  /** Told how much processor time each piece took the TLS above, in milliseconds. */
  readonly onWork: (ms: number) => void;
}

/**
 * A TCP socket below TLS, with a limit on what may come before the handshake is done, and its work measured. TLS on the socket itself reads in Node's C++, where
 * neither is possible. Sending through it takes about twice the processor time, so it is there only where clients are asked for a certificate (docs/adr).
 */
export class HandshakeSocket extends Duplex {
  readonly #socket: Socket;
  readonly #options: HandshakeSocketOptions;
  #left: number;
  #isOpen = false;
  /** Whoever was asked or told ends the connection, at the end of the event loop's turn: what comes until then is passed over. */
  #isRefused = false;
  /** What came beyond the limit, while it is not known whether it still belongs to the handshake. */
  #behind: Buffer | undefined;

  /** @param first what was already read of the socket, which is paused */
  constructor(socket: Socket, first: Buffer, options: HandshakeSocketOptions) {
    super({ allowHalfOpen: true });
    // TLS above decides what follows the peer's end.
    socket.allowHalfOpen = true;
    this.#socket = socket;
    this.#options = options;
    this.#left = options.maxBytes - first.length;
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
    if (first.length > 0) this.push(first);
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.pause();
  }

  /** The handshake is done: no limit from now on. */
  open(): void {
    this.#isOpen = true;
  }

  #received(chunk: Buffer): void {
    if (this.#isOpen) {
      if (!this.push(chunk)) this.#socket.pause();
      return;
    }
    if (this.#isRefused) return;
    if (!this.#options.mayGoOn()) {
      this.#isRefused = true;
      return;
    }
    // Behind the handshake there may be data already, in any amount: TLS gets what the limit leaves, and then it is seen whether it is done.
    const part = chunk.subarray(0, this.#left);
    this.#left -= part.length;
    if (part.length < chunk.length) {
      this.#behind = chunk.subarray(part.length);
      this.#socket.pause();
    }
    if (part.length > 0) this.push(part);
    else this.#goOn();
  }

  /** TLS has taken all that it was given. */
  #goOn(): void {
    const behind = this.#behind;
    if (behind === undefined || this.readableLength > 0 || this.destroyed) return;
    this.#behind = undefined;
    if (this.#isOpen) this.push(behind);
    else {
      this.#isRefused = true;
      this.#options.onTooLong();
    }
  }

  /** TLS takes what it is given while the event is emitted. */
  override emit(event: string | symbol, ...values: unknown[]): boolean {
    if (this.#isOpen || event !== 'data') return super.emit(event, ...values);
    const before = processorMs();
    try {
      return super.emit(event, ...values);
    } finally {
      this.#options.onWork(processorMs() - before);
      this.#goOn();
    }
  }

  override _read(): void {
    if (this.#behind === undefined) this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#socket.write(chunk, callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#socket.end(() => callback());
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#socket.destroy();
    callback(error);
  }
}

/** Processor time of this thread in milliseconds; before Node 23.9 the time on the wall, which counts what other programs took too. */
function processorMs(): number {
  if (typeof process.threadCpuUsage !== 'function') return performance.now();
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}
