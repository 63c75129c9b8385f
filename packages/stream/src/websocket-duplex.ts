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

/** How a {@link webSocketDuplex} behaves; each has a default. */
export interface WebSocketDuplexOptions {
  /** Milliseconds between pings; default `LIMITS.pingMs`, 0 sends none. */
  readonly pingMs?: number;
  /** Default {@link systemClock}. */
  readonly clock?: Clock;
  /** Milliseconds without a byte in the direction that goes on after the other has ended; default `LIMITS.halfCloseMs`. */
  readonly halfCloseMs?: number;
  /** As of a `net.Socket`: whether our side may go on after the peer has ended. False ends it with the peer, after what was written. Default true. */
  readonly allowHalfOpen?: boolean;
  /** Bytes held for a reader that does not read, beside the message that fills them; default 256 KiB. */
  readonly readBufferBytes?: number;
  /** Bytes of the longest message, as the socket was told; default `LIMITS.messageBytes`. */
  readonly maxPayload?: number;
}

/** Bytes buffered in each direction before back-pressure: four of the largest frames, so that neither end waits for the other's turn. */
const HIGH_WATER_MARK = 4 * LIMITS.frameBytes;

/** Milliseconds a destroyed connection has to get its close frame out before it is cut. */
const CLOSE_FRAME_MS = 1_000;

const BINARY = { binary: true, compress: false } as const;

/**
 * A WebSocket as a `Duplex`, from this moment on: wrap the socket in the turn in which it arrives or is made, and no byte is lost.
 * The socket then belongs to the Duplex; nothing else may send, close, pause or resume it.
 *
 * - Writing sends binary messages of at most 64 KiB; what was written while a send was under way leaves together.
 * - Of a socket that was made here a message's bytes are read as they come ({@link ClientFrames}); of one handed over open, when it is whole.
 * - `end()` sends Close 1000 after every byte. The other direction is still delivered until the peer closes.
 * - The readable side ends only after the peer's Close 1000. Our own Close then waits for our `end()`, so an answer is not cut off, be it
 *   under way or not begun (RFC 6455 §5.5.1 permits the delay).
 * - The direction that goes on after the other has ended does so without a bound while bytes flow, and fails with `half_close_timeout` after
 *   `halfCloseMs` without one. It is never ended with 1000 by itself.
 * - Any other end destroys the Duplex with `errorFromClose`, a lost connection with `stream_lost`; bytes that had arrived before can
 *   still be read first. An aborted stream never looks complete.
 * - `destroy(error)` sends the close code of the error's row (1011 unless it is a `CulvertError`) and cuts the connection soon, at once
 *   when our Close was sent before. Without
 *   an error it sends 1011 too, but 1000 when the peer's end was read and nothing is left to send.
 * - A peer that answers no ping for two intervals is lost, see {@link Liveness}.
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
  /** The callback of the write under way; one field, so that no closure is made per chunk. */
  #written: Sent | undefined;
  readonly #sent: Sent;
  readonly #maxPayload: number;
  /** Set when open, for a socket that this class made itself. */
  #frames: ClientFrames | undefined;
  #peerEnded = false;
  /** Why the stream was aborted; reported after the data that arrived before has been read. */
  #aborted: CulvertError | undefined;
  #socketError: Error | undefined;
  #wasOpen: boolean;
  #timer: Timer | undefined;
  /** Runs while one direction has ended and the other has not. */
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
      // A failed send tells less than the close that follows it, whose code says why: the callback stays pending until then.
      if (error) return;
      const done = this.#written;
      this.#written = undefined;
      this.#halfClose?.moved();
      done?.();
    };
    this.#writer = new MessageWriter((payload, sent) => this.#sendFrame(payload, sent));
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
    // A socket handed over paused starts to flow now; what it holds back is delivered in a later turn.
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

  /** Every byte that is consumed passes here, so a deferred error is emitted here after the last one. */
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

  #sendFrame(payload: Buffer, sent: Sent | undefined): void {
    const socket = this.#socket;
    // One that is closing sends no data; the library knows what to tell then.
    if (this.#frames !== undefined && socket.readyState === WebSocket.OPEN) this.#frames.send(payload, sent);
    else if (sent === undefined) socket.send(payload, BINARY);
    else socket.send(payload, BINARY, sent);
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

  /** Our direction has ended. The peer, or the gateway between, says first what happened: this is for when neither does. */
  #awaitPeer(): void {
    // After our Close no ping is sent, so a peer that is lost without a reset is noticed only by its silence.
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

  /** The peer's direction has ended; from the moment that was read, this side's silence is limited. */
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
    // Our Close was sent and cannot be followed by another: only closing the connection tells the peer that this side reads nothing more.
    const cutsNow = error !== null && this.#close.isSent && !this.#peerEnded;
    if (socket.readyState === WebSocket.CONNECTING || cutsNow) socket.terminate();
    else {
      // Closing after reading to the end is no failure, unless data is unsent.
      if (error === null && this.readableEnded && this.writableLength === 0) this.#close.send(1000, '');
      else this.#close.send(closeCode(error), error instanceof CulvertError ? error.message : '');
      const cut = this.#clock.setTimer(finished ? LIMITS.lingerMs : CLOSE_FRAME_MS, () => socket.terminate());
      socket.once('close', () => cut.cancel());
      // A paused socket would notice neither the peer's close frame nor its leaving.
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

  /** Destroys with `error`, after what had arrived before was read; a reader that stops reading is not waited for. */
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
    // The peer ended TCP without a close frame and does not take what is still queued for it.
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
