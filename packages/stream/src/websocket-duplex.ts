import { Duplex } from 'node:stream';
import { CulvertError, LIMITS } from '@culvert/protocol';
import { WebSocket } from 'ws';
import { ClientFrames } from './client-frames.ts';
import { type Clock, systemClock, type Timer } from './clock.ts';
import { CloseHandshake, closeError } from './close-handshake.ts';
import { HalfCloseTimer } from './half-close-timer.ts';
import { Liveness } from './liveness.ts';
import { MessageWriter, type Sent } from './message-writer.ts';
import { networkError } from './network-error.ts';

/** Options of {@link webSocketDuplex}. */
export interface WebSocketDuplexOptions {
  /** Milliseconds between pings; default `LIMITS.pingMs`; 0 sends no pings. */
  readonly pingMs?: number;
  /** Default {@link systemClock}. */
  readonly clock?: Clock;
  /** Maximum milliseconds without a byte in the open direction after the other direction has ended; default `LIMITS.halfCloseMs`. */
  readonly halfCloseMs?: number;
  /**
   * As in `net.Socket`: whether this side may continue to send after the peer has ended. If false, this side then ends too, after the data
   * written so far. Default true.
   */
  readonly allowHalfOpen?: boolean;
  /** Bytes buffered for a reader that does not read, before the connection is paused; the last message may exceed this. Default 256 KiB. */
  readonly readBufferBytes?: number;
  /** Maximum bytes of a received message; must equal the socket's own `maxPayload`. Default `LIMITS.messageBytes`. */
  readonly maxPayload?: number;
}

/** Bytes buffered in each direction before back-pressure: four frames of maximum size, so that sender and receiver do not wait for each other. */
const HIGH_WATER_MARK = 4 * LIMITS.frameBytes;

/** Milliseconds a destroyed connection may take to send its close frame and close, before it is terminated. */
const CLOSE_FRAME_MS = 1_000;

const BINARY = { binary: true, compress: false } as const;

/**
 * Wraps a WebSocket as a `Duplex`. Call it in the event-loop iteration in which the socket arrives or is created; otherwise bytes may be lost.
 * From then on the socket belongs to the Duplex; nothing else may send, close, pause or resume it.
 *
 * - Writes are sent as binary messages of at most 64 KiB. Chunks written while a send is in progress are sent together afterwards.
 * - If the socket is still connecting when it is wrapped (a client), the bytes of a message are delivered as they arrive ({@link ClientFrames}).
 *   If it is already open, each message is delivered when it is complete.
 * - `end()` sends Close 1000 after all written bytes. The peer's data is still delivered until the peer closes.
 * - The readable side ends only after the peer's Close 1000. This side sends its own Close only after its `end()`, so that an answer is not cut
 *   off, even if it has not begun yet (RFC 6455 §5.5.1 permits this delay).
 * - After one direction has ended, the other may stay open without a time limit while bytes flow. It fails with `half_close_timeout` after
 *   `halfCloseMs` without a byte. The Duplex never ends it with 1000 on its own.
 * - Every other close destroys the Duplex with the error of `errorFromClose`, and a lost connection destroys it with `stream_lost`. Bytes that
 *   arrived before can still be read first. An aborted stream never looks complete.
 * - `destroy(error)` sends the close code of the error (1011 if it is not a `CulvertError`) and terminates the connection soon after; if
 *   this side's Close was already sent, at once. `destroy()` without an error also sends 1011, but 1000 if the peer's end was read and no data is unsent.
 * - If the peer does not answer pings for two intervals, the connection counts as lost, see {@link Liveness}.
 */
export function webSocketDuplex(socket: WebSocket, options: WebSocketDuplexOptions = {}): Duplex {
  return new WebSocketDuplex(socket, options);
}

class WebSocketDuplex extends Duplex {
  readonly #socket: WebSocket;
  readonly #clock: Clock;
  readonly #halfCloseMs: number;
  readonly #liveness: Liveness;
  readonly #close: CloseHandshake;
  readonly #writer: MessageWriter;
  /** The callback of the current write. It is a field so that no closure is created per chunk. */
  #written: Sent | undefined;
  readonly #sent: Sent;
  readonly #maxPayload: number;
  /** Set when the socket opens, if it was still connecting when it was wrapped. */
  #frames: ClientFrames | undefined;
  #peerEnded = false;
  /** The error with which the stream was aborted. It is reported after all data that arrived before has been read. */
  #aborted: CulvertError | undefined;
  #socketError: Error | undefined;
  #wasOpen: boolean;
  #timer: Timer | undefined;
  /** Set while one direction has ended and the other has not. */
  #halfClose: HalfCloseTimer | undefined;

  constructor(socket: WebSocket, options: WebSocketDuplexOptions) {
    super({
      readableHighWaterMark: options.readBufferBytes ?? HIGH_WATER_MARK,
      writableHighWaterMark: HIGH_WATER_MARK,
      allowHalfOpen: options.allowHalfOpen ?? true,
      decodeStrings: true,
      emitClose: true,
    });
    this.#socket = socket;
    this.#clock = options.clock ?? systemClock;
    this.#halfCloseMs = options.halfCloseMs ?? LIMITS.halfCloseMs;
    this.#maxPayload = options.maxPayload ?? LIMITS.messageBytes;
    this.#wasOpen = socket.readyState !== WebSocket.CONNECTING;
    this.#sent = (error) => {
      // A close follows a failed send, and its code gives a better reason: the callback stays pending until then.
      if (error) return;
      const done = this.#written;
      this.#written = undefined;
      this.#halfClose?.moved();
      done?.();
    };
    this.#writer = new MessageWriter((parts, sent) => this.#sendFrame(parts, sent));
    this.#close = new CloseHandshake(socket, {
      peerEnded: () => this.#endedByPeer(),
      failed: (error) => this.#abort(error),
    });
    this.#liveness = new Liveness({
      clock: this.#clock,
      pingMs: options.pingMs ?? LIMITS.pingMs,
      ping: (flushed) => this.#ping(flushed),
      lost: () => this.destroy(new CulvertError('stream_lost', 'The other side answers no more.')),
    });
    this.#listen();
  }

  #listen(): void {
    const socket = this.#socket;
    socket.binaryType = 'nodebuffer';
    socket.on('message', (data: Buffer) => this.#receive(data));
    socket.on('pong', () => this.#liveness.receivedPong());
    socket.on('error', (error) => {
      this.#socketError = error;
    });
    socket.on('close', (code, reason) => this.#closed(code, reason.toString()));
    if (this.#wasOpen) this.#liveness.start();
    else this.#awaitOpen();
    if (socket.readyState === WebSocket.CLOSED) process.nextTick(() => this.#closed(1006, ''));
    // A paused socket is resumed here; its buffered data is delivered in a later event-loop iteration.
    else if (socket.isPaused) socket.resume();
  }

  #awaitOpen(): void {
    let connection: Duplex | undefined;
    this.#socket.once('upgrade', (response) => {
      connection = response.socket;
    });
    this.#socket.once('open', () => {
      this.#wasOpen = true;
      this.#liveness.start();
      if (connection === undefined) return;
      const receive = (piece: Buffer): void => this.#receive(piece);
      this.#frames = ClientFrames.over(connection, { receive, maxPayload: this.#maxPayload });
    });
  }

  #receive(data: Buffer): void {
    if (this.destroyed || this.#peerEnded) return;
    this.#liveness.receivedData();
    this.#halfClose?.moved();
    if (!this.push(data)) {
      this.#socket.pause();
      this.#liveness.paused = true;
    }
  }

  override _read(): void {
    if (!this.#socket.isPaused) return;
    this.#liveness.paused = false;
    this.#halfClose?.moved();
    this.#socket.resume();
  }

  /** All consumers read through this method, so this is where a deferred error is emitted after the last byte. */
  override read(size?: number): unknown {
    const chunk: unknown = super.read(size);
    if (this.#aborted !== undefined && this.readableLength === 0) process.nextTick(() => this.destroy(this.#aborted));
    return chunk;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Sent): void {
    if (!this.#wasOpen) {
      this.#socket.once('open', () => this._write(chunk, _encoding, done));
      return;
    }
    this.#written = done;
    this.#liveness.sentData();
    this.#halfClose?.moved();
    this.#writer.write(chunk, this.#sent);
  }

  override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], done: Sent): void {
    if (!this.#wasOpen) {
      this.#socket.once('open', () => this._writev(chunks, done));
      return;
    }
    this.#written = done;
    this.#liveness.sentData();
    this.#halfClose?.moved();
    this.#writer.writeAll(chunks, this.#sent);
  }

  #sendFrame(parts: readonly Buffer[], sent: Sent | undefined): void {
    const socket = this.#socket;
    // On a socket that is closing no data may be sent; the library's `send` then reports the error.
    if (this.#frames !== undefined && socket.readyState === WebSocket.OPEN) this.#frames.send(parts, sent);
    else socket.send(parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts), BINARY, sent);
  }

  override _final(done: Sent): void {
    if (!this.#wasOpen) {
      this.#socket.once('open', () => this._final(done));
      return;
    }
    this.#close.send(1000, '');
    this.#halfClose?.stop();
    if (!this.#peerEnded) this.#awaitPeer();
    done();
  }

  /** This side has ended. Limits the peer's silence, a little longer than the gateway does, so that the gateway reports a timeout first. */
  #awaitPeer(): void {
    // No ping may be sent after this side's Close, so the loss of a peer without a reset is detected only by its silence.
    this.#liveness.stop();
    const ms = this.#halfCloseMs + LIMITS.lingerMs;
    this.#halfClose = new HalfCloseTimer({
      clock: this.#clock,
      ms,
      isBlocked: () => this.#socket.isPaused,
      expired: () =>
        this.#abort(halfCloseTimeout(`This side had ended, and the other sent nothing for ${ms / 1000} s.`)),
    });
  }

  /** The peer's direction has ended. Limits this side's silence, counted from when the program has read that end. */
  #awaitOwnEnd(): void {
    const ms = this.#halfCloseMs;
    const halfClose = new HalfCloseTimer({
      clock: this.#clock,
      ms,
      isBlocked: () => this.#written !== undefined || this.readableLength > 0,
      expired: () =>
        this.destroy(halfCloseTimeout(`The other side had ended, and this side sent nothing for ${ms / 1000} s.`)),
    });
    this.#halfClose = halfClose;
    this.once('end', () => halfClose.moved());
  }

  override _destroy(error: Error | null, done: Sent): void {
    this.#liveness.stop();
    this.#timer?.cancel();
    this.#halfClose?.stop();
    this.#written = undefined;
    const socket = this.#socket;
    if (socket.readyState === WebSocket.CLOSED) {
      done(error);
      return;
    }
    const finished = error === null && this.#peerEnded && this.#close.isSent;
    // This side's Close was sent and a second one is not possible, so only terminating the connection shows the peer that this side no longer reads.
    const cutsNow = error !== null && this.#close.isSent && !this.#peerEnded;
    if (socket.readyState === WebSocket.CONNECTING || cutsNow) socket.terminate();
    else {
      // Destroying without an error after the peer's end was read is not a failure, unless data is unsent.
      if (error === null && this.readableEnded && this.writableLength === 0) this.#close.send(1000, '');
      else this.#close.send(closeCode(error), error instanceof CulvertError ? error.message : '');
      const cut = this.#clock.setTimer(finished ? LIMITS.lingerMs : CLOSE_FRAME_MS, () => socket.terminate());
      socket.once('close', () => cut.cancel());
      // A paused socket would detect neither the peer's close frame nor the end of the connection.
      socket.resume();
    }
    // A clean end is complete when the connection has closed; an abort is reported at once.
    if (finished) socket.once('close', () => done(null));
    else done(error);
  }

  #endedByPeer(): void {
    if (this.destroyed || this.#peerEnded || this.#aborted !== undefined) return;
    this.#peerEnded = true;
    this.#liveness.stop();
    this.#halfClose?.stop();
    this.push(null);
    if (!this.#close.isSent) this.#awaitOwnEnd();
  }

  #closed(code: number, reason: string): void {
    this.#liveness.stop();
    if (this.destroyed) return;
    if (!this.#wasOpen) {
      const error = this.#socketError ?? new CulvertError('unreachable', 'The connection could not be opened.');
      this.destroy(networkError(error, 'The WebSocket'));
    } else if (this.#peerEnded) {
      if (!this.#close.isSent)
        this.#abort(new CulvertError('stream_lost', 'The connection was lost before this side had ended.'));
    } else {
      this.#abort(closeError(code, reason));
    }
  }

  /** Destroys the Duplex with `error` after all received data has been read, or when the reader has read nothing for `LIMITS.lingerMs`. */
  #abort(error: CulvertError): void {
    if (this.destroyed || this.#aborted !== undefined) return;
    if (this.readableLength === 0) {
      this.destroy(error);
      return;
    }
    this.#aborted = error;
    this.#liveness.stop();
    this.#halfClose?.stop();
    this.#awaitReader(this.readableLength);
  }

  #awaitReader(unread: number): void {
    this.#startTimer(LIMITS.lingerMs, () => {
      if (this.readableLength === unread) this.destroy(this.#aborted);
      else this.#awaitReader(this.readableLength);
    });
  }

  #startTimer(ms: number, callback: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.setTimer(ms, callback);
  }

  #ping(flushed: () => void): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.ping(EMPTY, undefined, flushed);
    // The peer ended TCP without a close frame and does not read the data that is still queued for it.
    else if (!this.#close.isSent) this.#socket.terminate();
  }
}

const EMPTY = Buffer.alloc(0);

function halfCloseTimeout(text: string): CulvertError {
  return new CulvertError('half_close_timeout', text);
}

function closeCode(error: Error | null): number {
  return error instanceof CulvertError ? error.row.close : 1011;
}
