import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

export interface HandshakeSocketOptions {
  /** Maximum bytes received from the client until {@link HandshakeSocket.open} is called. */
  readonly maxBytes: number;
  /** Called before each chunk is passed to TLS. An implementation that returns false must also close the connection. */
  readonly mayContinue: () => boolean;
  /** Called when more than `maxBytes` are received. The implementation must close the connection. */
  readonly onTooLong: () => void;
  /** Called with the processor time, in milliseconds, that TLS took for each chunk. */
  readonly onWork: (ms: number) => void;
}

/**
 * A TCP socket below TLS that limits the bytes received before the handshake is complete, and measures the processor time of the handshake. TLS directly on a
 * TCP socket reads in Node's C++ code, where neither is possible. Sending through this class takes about twice the processor time, so it is used only where
 * client certificates are requested (docs/adr).
 */
export class HandshakeSocket extends Duplex {
  readonly #socket: Socket;
  readonly #options: HandshakeSocketOptions;
  #left: number;
  #isOpen = false;
  /** True once a callback has closed the connection, which takes effect at the end of the event loop's turn. Bytes received until then are ignored. */
  #isRefused = false;
  /** Bytes received beyond the limit, kept until it is known whether they belong to the handshake. */
  #excess: Buffer | undefined;

  /** @param first bytes that were already read from the socket, which is paused */
  constructor(socket: Socket, first: Buffer, options: HandshakeSocketOptions) {
    super({ allowHalfOpen: true });
    // TLS decides how to react when the peer ends its direction.
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

  /** Removes the limit, once the handshake is complete. */
  open(): void {
    this.#isOpen = true;
  }

  #received(chunk: Buffer): void {
    if (this.#isOpen) {
      if (!this.push(chunk)) this.#socket.pause();
      return;
    }
    if (this.#isRefused) return;
    if (!this.#options.mayContinue()) {
      this.#isRefused = true;
      return;
    }
    // Any amount of application data may already follow the handshake. TLS gets as much as the limit allows; then it is checked whether
    // the handshake is complete.
    const part = chunk.subarray(0, this.#left);
    this.#left -= part.length;
    if (part.length < chunk.length) {
      this.#excess = chunk.subarray(part.length);
      this.#socket.pause();
    }
    if (part.length > 0) this.push(part);
    else this.#checkExcess();
  }

  /** Called when TLS may have consumed all bytes. Passes the excess bytes on if the handshake is complete; otherwise it is too long. */
  #checkExcess(): void {
    const excess = this.#excess;
    if (excess === undefined || this.readableLength > 0 || this.destroyed) return;
    this.#excess = undefined;
    if (this.#isOpen) this.push(excess);
    else {
      this.#isRefused = true;
      this.#options.onTooLong();
    }
  }

  /** Measures the processor time of TLS, which processes a chunk synchronously while `data` is emitted. */
  override emit(event: string | symbol, ...values: unknown[]): boolean {
    if (this.#isOpen || event !== 'data') return super.emit(event, ...values);
    const before = processorMs();
    try {
      return super.emit(event, ...values);
    } finally {
      this.#options.onWork(processorMs() - before);
      this.#checkExcess();
    }
  }

  override _read(): void {
    if (this.#excess === undefined) this.#socket.resume();
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

/** Processor time of this thread in milliseconds; before Node 23.9 the elapsed time, which includes the time that other programs took. */
function processorMs(): number {
  if (typeof process.threadCpuUsage !== 'function') return performance.now();
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}
