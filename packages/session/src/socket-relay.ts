import type { Socket } from 'node:net';
import { CulvertError } from '@culvert/protocol';
import type { ConnectionReceiver } from './connection-duplex.ts';
import type { SessionConnection } from './core/connection.ts';
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
  /** Why this end gave the connection up; undefined if it did not. */
  readonly error: Error | undefined;
}

/**
 * Joins a local TCP socket and a connection of a session: an end to an end, a reset to a reset, and back-pressure both ways. The socket must
 * allow half-open connections.
 */
export class SocketRelay implements ConnectionReceiver {
  readonly #socket: Socket;
  readonly #over: (end: RelayEnd) => void;
  readonly #opened: () => void;
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
  #error: Error | undefined;
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

  /**
   * @param over called once, when nothing more will happen
   * @param opened called when the device has reached the service
   */
  constructor(socket: Socket, over: (end: RelayEnd) => void, opened: () => void = () => undefined) {
    this.#socket = socket;
    this.#over = over;
    this.#opened = opened;
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
    socket.on('error', (cause) => this.#lost(cause));
    socket.on('close', () => this.#closed());
    socket.resume();
    if (socket.destroyed) this.#closed();
  }

  /** The connection that the peer's bytes belong to, if it is known before {@link start}. */
  attach(connection: SessionConnection): void {
    this.#connection = connection;
  }

  opened(): void {
    this.#opened();
  }

  moved(connection: SessionConnection): void {
    this.#connection = connection;
  }

  /** @param reason what the peer is told */
  fail(error: Error, reason: ConnectionReason = 'reset'): void {
    if (this.#isOver) return;
    this.#error ??= error;
    this.#connection?.abort(reason);
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
    else if (!readableEnded || !writableFinished) this.#lost();
  }

  #lost(cause?: Error): void {
    this.#endedBy ??= 'local';
    this.fail(new CulvertError('stream_lost', 'The local connection was lost.', { cause }));
  }

  #finish(reason: ConnectionReason | undefined, text: string, isRefusal: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#over({
      endedBy: this.#endedBy ?? 'local',
      bytesSent: this.#bytesSent,
      bytesReceived: this.#bytesReceived,
      reason,
      text,
      isRefusal,
      error: this.#error,
    });
  }
}
