import type { Socket } from 'node:net';
import type { ConnectionEvents, SessionConnection } from './core/connection.ts';
import type { ConnectionReason } from './core/frame.ts';
import { SmallPieces } from './small-pieces.ts';

/** Writes under way up to which what came with one message of the link is written at once; more are joined. */
const MAX_WRITES = 64;

/** How a {@link SocketRelay} ended. */
export interface RelayEnd {
  /** Which side ended first: the local socket or the peer. */
  readonly endedBy: 'local' | 'remote';
  /** Bytes from the socket into the connection. */
  readonly bytesSent: number;
  /** Bytes from the connection to the socket. */
  readonly bytesReceived: number;
  /** Undefined if both directions had ended. */
  readonly reason: ConnectionReason | undefined;
  readonly text: string;
  readonly isRefusal: boolean;
}

/**
 * Joins a local TCP socket and a connection of a session: an end to an end, a reset to a reset, and back-pressure both ways. The socket must
 * allow half-open connections.
 */
export class SocketRelay implements ConnectionEvents {
  readonly #socket: Socket;
  readonly #over: (end: RelayEnd) => void;
  #connection: SessionConnection | undefined;
  /** Bytes of writes that the kernel has not taken, in order. */
  readonly #unwritten: number[] = [];
  /** Bytes behind the writes under way, which are written after one of them. */
  readonly #small = new SmallPieces();
  #isOver = false;
  #endedBy: 'local' | 'remote' | undefined;
  #bytesSent = 0;
  #bytesReceived = 0;
  #hasFinished = false;
  #isCorked = false;
  readonly #uncork = (): void => {
    this.#isCorked = false;
    if (this.#unwritten.length < MAX_WRITES) this.#writeSmall();
    this.#socket.uncork();
  };
  readonly #written = (error?: Error | null): void => {
    const bytes = this.#unwritten.shift() ?? 0;
    if (error) return;
    if (!this.#isCorked) this.#writeSmall();
    this.#connection?.consumed(bytes);
  };

  /** @param over called once, when nothing more will happen */
  constructor(socket: Socket, over: (end: RelayEnd) => void) {
    this.#socket = socket;
    this.#over = over;
  }

  /** Starts to relay what the socket receives. Bytes of the peer are written to the socket already before. */
  start(connection: SessionConnection): void {
    this.#connection = connection;
    const socket = this.#socket;
    socket.on('data', (chunk) => {
      this.#bytesSent += chunk.length;
      if (this.#connection?.write(chunk) === false) socket.pause();
    });
    socket.on('end', () => {
      this.#endedBy ??= 'local';
      this.#connection?.end();
    });
    socket.on('error', () => this.#connection?.abort('reset'));
    socket.on('close', () => this.#closed());
    socket.resume();
    if (socket.destroyed) this.#closed();
  }

  /** The connection that the peer's bytes belong to, if it is known before {@link start}. */
  attach(connection: SessionConnection): void {
    this.#connection = connection;
  }

  data(bytes: Uint8Array): void {
    const socket = this.#socket;
    if (!this.#isCorked) {
      // All that one message of the link has for this socket is written with one system call.
      this.#isCorked = true;
      socket.cork();
      process.nextTick(this.#uncork);
    }
    this.#bytesReceived += bytes.length;
    if (this.#unwritten.length > 0 && this.#small.add(bytes)) return;
    this.#writeSmall();
    if (this.#unwritten.length === 0 || !this.#small.add(bytes)) this.#write(bytes);
  }

  ended(): void {
    this.#endedBy ??= 'remote';
    this.#writeSmall();
    this.#socket.end();
  }

  drained(): void {
    this.#socket.resume();
  }

  aborted(reason: ConnectionReason, text: string, isRefusal: boolean): void {
    this.#finish(reason, text, isRefusal);
    if (this.#socket.destroyed) return;
    this.#socket.on('error', () => undefined);
    this.#socket.resetAndDestroy();
  }

  finished(): void {
    this.#hasFinished = true;
    if (this.#socket.destroyed) this.#closed();
  }

  #writeSmall(): void {
    const bytes = this.#small.take();
    if (bytes !== undefined) this.#write(bytes);
  }

  #write(bytes: Uint8Array): void {
    this.#unwritten.push(bytes.length);
    this.#socket.write(bytes, this.#written);
  }

  #closed(): void {
    const { readableEnded, writableFinished } = this.#socket;
    if (this.#hasFinished) this.#finish(undefined, '', false);
    // The program is gone although the peer has not ended: what the peer still sends has no reader. If both have ended, the program's last bytes may
    // still be on their way to the peer.
    else if (!readableEnded || !writableFinished) this.#connection?.abort('reset');
  }

  #finish(reason: ConnectionReason | undefined, text: string, isRefusal: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const [bytesSent, bytesReceived] = [this.#bytesSent, this.#bytesReceived];
    this.#over({ endedBy: this.#endedBy ?? 'local', bytesSent, bytesReceived, reason, text, isRefusal });
  }
}
