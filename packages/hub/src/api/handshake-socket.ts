import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

export interface HandshakeSocketOptions {
  /** Bytes that may come until {@link HandshakeSocket.open}. */
  readonly maxBytes: number;
  /** More came: the connection is ended. */
  readonly onTooLong: () => void;
  /** Told how much processor time each piece took the TLS above, in milliseconds. */
  readonly onWork: (ms: number) => void;
}

/**
 * A TCP socket below TLS, with a limit on what may come before the handshake is done, and its work measured. TLS on the socket itself reads in Node's C++, where
 * neither is possible. It costs streams on such connections some throughput, so it is there only where clients are asked for a certificate.
 */
export class HandshakeSocket extends Duplex {
  readonly #socket: Socket;
  readonly #options: HandshakeSocketOptions;
  #left: number;
  #isOpen = false;

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
    if (!this.#isOpen) {
      this.#left -= chunk.length;
      if (this.#left < 0) {
        this.#socket.pause();
        this.#options.onTooLong();
        return;
      }
    }
    if (!this.push(chunk)) this.#socket.pause();
  }

  /** TLS takes what it is given while the event is emitted. */
  override emit(event: string | symbol, ...values: unknown[]): boolean {
    if (this.#isOpen || event !== 'data') return super.emit(event, ...values);
    const before = processorMs();
    try {
      return super.emit(event, ...values);
    } finally {
      this.#options.onWork(processorMs() - before);
    }
  }

  override _read(): void {
    this.#socket.resume();
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
