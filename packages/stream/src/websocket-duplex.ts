import { Duplex } from 'node:stream';
import { CulvertError, closeReason, errorFromClose, LIMITS } from '@culvert/protocol';
import { WebSocket } from 'ws';
import { ClientFrames } from './client-frames.ts';
import { type Clock, systemClock, type Timer } from './clock.ts';
import { Liveness } from './liveness.ts';
import { networkError } from './network-error.ts';

/** How a {@link webSocketDuplex} behaves; each has a default. */
export interface WebSocketDuplexOptions {
  /** Milliseconds between pings; default `LIMITS.pingMs`, 0 sends none. */
  readonly pingMs?: number;
  /** Default {@link systemClock}. */
  readonly clock?: Clock;
  /** Milliseconds one direction may go on after the other has ended; default `LIMITS.lingerMs`. */
  readonly lingerMs?: number;
  /** Bytes held for a reader that does not read, beside the message that fills them; default 256 KiB. */
  readonly readBufferBytes?: number;
  /** Bytes of the longest message, as the socket was told; default `LIMITS.messageBytes`. */
  readonly maxPayload?: number;
}

/** Bytes buffered in each direction before back-pressure: four of the largest frames, so that neither end waits for the other's turn. */
const HIGH_WATER_MARK = 4 * LIMITS.frameBytes;

/** Chunks below this many bytes are copied together into one frame: the copy costs less than a frame does. */
const COALESCE_BELOW = 32_768;

/** Milliseconds a destroyed connection has to get its close frame out before it is cut. */
const CLOSE_FRAME_MS = 1_000;

/** The part of the linger time after which we follow a peer that ended: before it gives up waiting for us. */
const ANSWER_SHARE = 0.8;

const BINARY = { binary: true, compress: false } as const;

/**
 * A WebSocket as a `Duplex`, from this moment on: wrap the socket in the turn in which it arrives or is made, and no byte is lost.
 * The socket then belongs to the Duplex; nothing else may send, close, pause or resume it.
 *
 * - Writing sends binary messages of at most 64 KiB; what was written while a send was under way leaves together.
 * - Of a socket that was made here a message's bytes are read as they come ({@link ClientFrames}); of one handed over open, when it is whole.
 * - `end()` sends Close 1000 after every byte. The other direction is still delivered until the peer closes, `lingerMs` at most.
 * - The readable side ends only after the peer's Close 1000. Our own Close then waits for our `end()`, four fifths of
 *   `lingerMs` at most, so an answer under way is not cut off (RFC 6455 §5.5.1 permits it).
 * - Any other end destroys the Duplex with `errorFromClose`, a lost connection with `stream_lost`; bytes that had arrived before can
 *   still be read first. A torn stream never looks complete.
 * - `destroy(error)` sends the close code of the error's row (1011 unless it is a `CulvertError`) and cuts the connection soon. Without
 *   an error it sends 1011 too, but 1000 when the peer's end was read and nothing is left to send.
 * - A peer that answers no ping for two intervals is lost, see {@link Liveness}.
 */
export function webSocketDuplex(socket: WebSocket, options: WebSocketDuplexOptions = {}): Duplex {
  return new WebSocketDuplex(socket, options);
}

/** Called by `Duplex` machinery when a chunk is done with. */
type Done = (error?: Error | null) => void;

class WebSocketDuplex extends Duplex {
  readonly #socket: WebSocket;
  readonly #clock: Clock;
  readonly #lingerMs: number;
  readonly #liveness: Liveness;
  /** The socket's own `close`, which {@link #takeOverClose} puts itself before. */
  readonly #sendClose: (code: number, reason?: string | Buffer) => void;
  /** The callback of the write under way; one field, so that no closure is made per chunk. */
  #written: Done | undefined;
  readonly #sent: (error?: Error | null) => void;
  readonly #maxPayload: number;
  /** Set when open, for a socket of ours that was made here. */
  #frames: ClientFrames | undefined;
  #closeSent = false;
  #peerEnded = false;
  /** Why the stream was torn, kept back until what arrived before has been read. */
  #torn: CulvertError | undefined;
  #socketError: Error | undefined;
  #wasOpen: boolean;
  #timer: Timer | undefined;

  constructor(socket: WebSocket, options: WebSocketDuplexOptions) {
    super({
      readableHighWaterMark: options.readBufferBytes ?? HIGH_WATER_MARK,
      writableHighWaterMark: HIGH_WATER_MARK,
      decodeStrings: true,
      emitClose: true,
    });
    this.#socket = socket;
    this.#clock = options.clock ?? systemClock;
    this.#lingerMs = options.lingerMs ?? LIMITS.lingerMs;
    this.#maxPayload = options.maxPayload ?? LIMITS.messageBytes;
    this.#wasOpen = socket.readyState !== WebSocket.CONNECTING;
    this.#sent = (error) => {
      // A failed send tells less than the close that follows it, whose code says why: the callback stays pending until then.
      if (error) return;
      const done = this.#written;
      this.#written = undefined;
      done?.();
    };
    this.#sendClose = this.#takeOverClose();
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
    socket.on('pong', () => this.#liveness.heard());
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
    if (!this.push(data)) {
      this.#socket.pause();
      this.#liveness.paused = true;
    }
  }

  override _read(): void {
    if (!this.#socket.isPaused) return;
    this.#liveness.paused = false;
    this.#socket.resume();
  }

  /** Every byte that is consumed passes here, so this is where a kept-back error learns that the last one was. */
  override read(size?: number): unknown {
    const chunk: unknown = super.read(size);
    if (this.#torn !== undefined && this.readableLength === 0) process.nextTick(() => this.destroy(this.#torn));
    return chunk;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (!this.#wasOpen) {
      this.#socket.once('open', () => this._write(chunk, _encoding, done));
      return;
    }
    this.#written = done;
    this.#liveness.sentData();
    this.#send(chunk, this.#sent);
  }

  override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], done: Done): void {
    if (!this.#wasOpen) {
      this.#socket.once('open', () => this._writev(chunks, done));
      return;
    }
    this.#written = done;
    this.#liveness.sentData();
    const last = chunks.length - 1;
    let index = 0;
    while (index <= last) {
      const run = smallRun(chunks, index);
      const piece = run.count > 1 ? gather(chunks, index, run) : (chunks[index]?.chunk ?? EMPTY);
      index += run.count;
      this.#send(piece, index > last ? this.#sent : undefined);
    }
  }

  /** One chunk in frames of at most 64 KiB; the last of them tells when all were handed to the kernel. */
  #send(chunk: Buffer, sent: Done | undefined): void {
    let offset = 0;
    while (chunk.length - offset > LIMITS.frameBytes) {
      const end = offset + LIMITS.frameBytes;
      this.#sendFrame(chunk.subarray(offset, end), undefined);
      offset = end;
    }
    this.#sendFrame(offset === 0 ? chunk : chunk.subarray(offset), sent);
  }

  #sendFrame(payload: Buffer, sent: Done | undefined): void {
    const socket = this.#socket;
    // One that is closing sends no data; the library knows what to tell then.
    if (this.#frames !== undefined && socket.readyState === WebSocket.OPEN) this.#frames.send(payload, sent);
    else if (sent === undefined) socket.send(payload, BINARY);
    else socket.send(payload, BINARY, sent);
  }

  override _final(done: Done): void {
    if (!this.#wasOpen) {
      this.#socket.once('open', () => this._final(done));
      return;
    }
    this.#close(1000, '');
    if (!this.#peerEnded) {
      this.#startTimer(this.#lingerMs, () => {
        const text = `The other side did not end within ${this.#lingerMs / 1000} s after this side had.`;
        this.#tear(new CulvertError('stream_lost', text));
      });
    }
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#liveness.stop();
    this.#timer?.cancel();
    this.#written = undefined;
    const socket = this.#socket;
    if (socket.readyState === WebSocket.CLOSED) {
      done(error);
      return;
    }
    const finished = error === null && this.#peerEnded && this.#closeSent;
    if (socket.readyState === WebSocket.CONNECTING) socket.terminate();
    else {
      // Reading to the end and then letting go, as `for await` does, is no failure; what is unsent then would be one.
      if (error === null && this.readableEnded && this.writableLength === 0) this.#close(1000, '');
      else this.#close(closeCode(error), error instanceof CulvertError ? error.message : '');
      const cut = this.#clock.setTimer(finished ? this.#lingerMs : CLOSE_FRAME_MS, () => socket.terminate());
      socket.once('close', () => cut.cancel());
      // A paused socket would notice neither the peer's close frame nor its leaving.
      socket.resume();
    }
    // A clean end is over when the connection is; a torn one is reported at once.
    if (finished) socket.once('close', () => done(null));
    else done(error);
  }

  /**
   * `ws` answers a close frame in the turn in which it arrives, which would cut off what our side still has to say and, worse, tell the
   * peer with its own code 1000 that this was all. It does so through the public `close`: ours decides when to answer instead.
   */
  #takeOverClose(): (code: number, reason?: string | Buffer) => void {
    const socket = this.#socket;
    const close = socket.close.bind(socket);
    socket.close = (code, reason) => {
      if (code === 1000 && reason !== undefined) {
        // Once both close frames have been exchanged this ends the connection.
        if (this.#closeSent) close();
        this.#endedByPeer();
        return;
      }
      this.#closeSent = true;
      close(code ?? 1000, reason);
      // A close frame that was received always has a reason, be it empty; `ws` gives none when it found the peer at fault.
      const received = reason !== undefined || code === undefined;
      this.#tear(received ? lostBy(code ?? 1005, String(reason ?? '')) : fault(code));
    };
    return close;
  }

  #close(code: number, reason: string): void {
    if (this.#closeSent) return;
    this.#closeSent = true;
    this.#sendClose(code, closeReason(reason));
  }

  #endedByPeer(): void {
    if (this.destroyed || this.#peerEnded || this.#torn !== undefined) return;
    this.#peerEnded = true;
    this.#liveness.stop();
    this.#timer?.cancel();
    this.push(null);
    if (this.#closeSent) return;
    const ms = this.#lingerMs * ANSWER_SHARE;
    this.#startTimer(ms, () => {
      const text = `The other side ended, and this side did not within ${ms / 1000} s.`;
      if (this.writableLength > 0) this.destroy(new CulvertError('stream_lost', text));
      else this.end();
    });
  }

  #closed(code: number, reason: string): void {
    this.#liveness.stop();
    if (this.destroyed) return;
    if (!this.#wasOpen) {
      const error = this.#socketError ?? new CulvertError('unreachable', 'The connection could not be opened.');
      this.destroy(networkError(error, 'The WebSocket'));
    } else if (this.#peerEnded) {
      if (this.writableLength > 0)
        this.destroy(new CulvertError('stream_lost', 'The other side ended before all was sent.'));
      else if (!this.writableEnded) this.end();
    } else {
      this.#tear(lostBy(code, reason));
    }
  }

  /** Destroys with `error`, after what had arrived before was read; a reader that stops reading is not waited for. */
  #tear(error: CulvertError): void {
    if (this.destroyed || this.#torn !== undefined) return;
    if (this.readableLength === 0) {
      this.destroy(error);
      return;
    }
    this.#torn = error;
    this.#liveness.stop();
    this.#awaitReader(this.readableLength);
  }

  #awaitReader(unread: number): void {
    this.#startTimer(this.#lingerMs, () => {
      if (this.readableLength === unread) this.destroy(this.#torn);
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
    else if (!this.#closeSent) this.#socket.terminate();
  }
}

const EMPTY = Buffer.alloc(0);

/** How many chunks from `start` on fit one frame together: small ones, or a single one of any size. */
function smallRun(chunks: { chunk: Buffer }[], start: number): { count: number; bytes: number } {
  let bytes = 0;
  let index = start;
  for (; index < chunks.length; index++) {
    const size = chunks[index]?.chunk.length ?? 0;
    if (size >= COALESCE_BELOW || bytes + size > LIMITS.frameBytes) break;
    bytes += size;
  }
  return { count: Math.max(1, index - start), bytes };
}

function gather(chunks: { chunk: Buffer }[], start: number, run: { count: number; bytes: number }): Buffer {
  const frame = Buffer.allocUnsafe(run.bytes);
  let offset = 0;
  for (let index = start; index < start + run.count; index++) {
    const chunk = chunks[index]?.chunk ?? EMPTY;
    frame.set(chunk, offset);
    offset += chunk.length;
  }
  return frame;
}

/** The error of a close frame that was received; an empty one (1005) is no clean end either. */
function lostBy(code: number, reason: string): CulvertError {
  return errorFromClose(code, reason) ?? new CulvertError('stream_lost', 'The stream ended without a reason.');
}

/** The error of a peer that `ws` closes on with `code`. */
function fault(code: number | undefined): CulvertError {
  return new CulvertError(code === 1009 ? 'too_large' : 'protocol_error');
}

function closeCode(error: Error | null): number {
  return error instanceof CulvertError ? error.row.close : 1011;
}
