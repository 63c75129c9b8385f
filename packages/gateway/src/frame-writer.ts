import type { Duplex } from 'node:stream';
import { LIMITS } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import { controlFrame, OPCODE } from './frame-header.ts';

/** What a {@link FrameWriter} tells its owner. */
export interface WriterListener {
  /** The socket takes no more for now: stop writing until {@link WriterListener.drained}. */
  full(): void;
  drained(): void;
  /** A write made no progress for `stallMs`. Told once. */
  stalled(): void;
}

/**
 * Writes whole frames to a socket: what comes within one turn of the event loop, or 64 KiB of it, goes into one write. Holds no
 * more than one turn's frames, one pong and one ping beside what the socket itself buffers.
 */
export class FrameWriter {
  /** Whether the socket takes no more for now. */
  full = false;

  readonly #socket: Duplex;
  readonly #listener: WriterListener;
  readonly #clock: Clock;
  readonly #stallMs: number;
  #pieces: Buffer[] = [];
  #bytes = 0;
  /** The answer to the last ping: a client that floods pings gets one answer per write (RFC 6455 §5.5.3 allows it). */
  #pong: Buffer | undefined;
  /** A ping of our own that waits for room, and who is told when it is on its way. */
  #ping: { readonly frame: Buffer; readonly sent: () => void } | undefined;
  #turn: NodeJS.Immediate | undefined;
  #written: (() => void) | undefined;
  /** Writes the socket has not finished, and when one was last finished or the first was begun. */
  #unfinished = 0;
  #progressAt = 0;
  #stallTimer: Timer | undefined;

  constructor(socket: Duplex, listener: WriterListener, options: { clock: Clock; stallMs: number }) {
    this.#socket = socket;
    this.#listener = listener;
    this.#clock = options.clock;
    this.#stallMs = options.stallMs;
    socket.on('drain', this.#onDrain);
  }

  /** Bytes waiting for the end of the turn. */
  get pendingBytes(): number {
    return this.#bytes;
  }

  /** Sends whole frames, which may come in several calls within one turn. */
  write(frames: Buffer): void {
    this.#pieces.push(frames);
    this.#bytes += frames.length;
    if (this.#bytes >= LIMITS.frameBytes) this.flush();
    else this.#flushAfterTurn();
  }

  /** Answers a ping, once the socket takes it. A later answer replaces one that was not sent yet. */
  pong(payload: Buffer): void {
    this.#pong = controlFrame(OPCODE.pong, payload);
    if (!this.full) this.#flushAfterTurn();
  }

  /** Pings the client, once the socket takes it: also in the pauses of a stream that keeps it full. */
  ping(frame: Buffer, sent: () => void): void {
    this.#ping = { frame, sent };
    if (!this.full) this.#flushAfterTurn();
  }

  /**
   * Sends the last frame, a close frame: nothing may follow it, not even an answer to a ping.
   * @param written called once the operating system has taken everything up to it
   */
  last(frame: Buffer, written: () => void): void {
    this.#pong = undefined;
    this.#ping = undefined;
    this.#pieces.push(frame);
    this.#bytes += frame.length;
    this.#written = written;
    this.flush();
  }

  /** Gives the socket what waits for the end of the turn now. */
  flush(): void {
    clearImmediate(this.#turn);
    this.#turn = undefined;
    if (this.#hasControl && !this.full) this.#flushAfterTurn();
    if (this.#pieces.length === 0 || this.#socket.destroyed) return;
    const bytes = this.#join();
    this.#pieces = [];
    this.#bytes = 0;
    if (this.#unfinished++ === 0) this.#progressAt = this.#clock.now();
    const takesMore = this.#socket.write(bytes, this.#onWritten);
    this.#watchProgress();
    if (takesMore || this.full) return;
    this.full = true;
    this.#listener.full();
  }

  /** Forgets what was not given to the socket, and frees the timer and the listener. */
  destroy(): void {
    clearImmediate(this.#turn);
    this.#turn = undefined;
    this.#stallTimer?.cancel();
    this.#stallTimer = undefined;
    this.#pieces = [];
    this.#bytes = 0;
    this.#pong = undefined;
    this.#ping = undefined;
    this.#socket.off('drain', this.#onDrain);
  }

  #flushAfterTurn(): void {
    this.#turn ??= setImmediate(this.#onTurn);
  }

  /** Only now, between turns, does the output surely stand at a frame boundary: within one, 64 KiB may be full in mid-frame. */
  readonly #onTurn = (): void => {
    if (!this.full) this.#addControl();
    this.flush();
  };

  get #hasControl(): boolean {
    return this.#pong !== undefined || this.#ping !== undefined;
  }

  #addControl(): void {
    const [pong, ping] = [this.#pong, this.#ping];
    this.#pong = undefined;
    this.#ping = undefined;
    for (const frame of [pong, ping?.frame]) {
      if (frame === undefined) continue;
      this.#pieces.push(frame);
      this.#bytes += frame.length;
    }
    ping?.sent();
  }

  /** One buffer to write. A small frame is copied out of its large chunk: the socket may keep it for long. */
  #join(): Buffer {
    const [first] = this.#pieces;
    if (first === undefined || this.#pieces.length > 1) return Buffer.concat(this.#pieces, this.#bytes);
    return first.length * 4 < first.buffer.byteLength ? Buffer.from(first) : first;
  }

  readonly #onWritten = (error?: Error | null): void => {
    this.#unfinished--;
    this.#progressAt = this.#clock.now();
    if (this.#unfinished > 0 || error || this.#written === undefined) return;
    const written = this.#written;
    this.#written = undefined;
    written();
  };

  readonly #onDrain = (): void => {
    if (!this.full) return;
    this.full = false;
    if (this.#hasControl) this.#flushAfterTurn();
    this.#listener.drained();
  };

  /** One timer per busy spell, not per write. */
  #watchProgress(): void {
    this.#stallTimer ??= this.#clock.setTimer(this.#stallMs, this.#checkProgress);
  }

  readonly #checkProgress = (): void => {
    this.#stallTimer = undefined;
    if (this.#unfinished === 0) return;
    const left = this.#progressAt + this.#stallMs - this.#clock.now();
    if (left <= 0) this.#listener.stalled();
    else this.#stallTimer = this.#clock.setTimer(left, this.#checkProgress);
  };
}
