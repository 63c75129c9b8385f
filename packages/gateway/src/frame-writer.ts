import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { LIMITS } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import type { BufferPool, PooledBuffer } from './buffer-pool.ts';
import type { Filled, FrameBuffer } from './frame-buffer.ts';
import { controlFrame, OPCODE } from './frame-header.ts';
import { RemoteSocket } from './threads/remote-socket.ts';

/** Callbacks of a {@link FrameWriter}. */
export interface WriterListener {
  /** The socket is full: do not offer more bytes until {@link WriterListener.drained}. */
  full(): void;
  drained(): void;
  /** A write made no progress for `stallMs`. Called once. */
  stalled(): void;
}

/** Up to this many bytes are copied out of their pooled buffer before they are written, so that a slow client does not occupy it for a few bytes. */
const SMALL_BYTES = 4_096;

/**
 * Writes complete frames to a socket. A single chunk is written at once. While more than one chunk arrives per event-loop iteration, the chunks of
 * an iteration are sent in one write at its end. Chunks that arrive during a write are sent in the next write, so usually only one is unfinished.
 * A source that fills its buffer during a write makes the writer full.
 */
export class FrameWriter {
  /** Whether the socket is full. */
  full = false;

  readonly #socket: Duplex;
  readonly #listener: WriterListener;
  readonly #clock: Clock;
  readonly #stallMs: number;
  readonly #memory: BufferPool | undefined;
  /** Whether the buffer can be reused after the write callback. Other duplexes than these two classes may still have passed it on. */
  readonly #canReuseBuffers: boolean;
  /** The buffer of frames to send, filled by the other side. */
  #source: FrameBuffer | undefined;
  /** Chunks since the last write, and whether more than one chunk arrived before that write. */
  #chunks = 0;
  #isBusyIteration = false;
  /** The answer to the last ping: a client that floods pings gets one answer per write (RFC 6455 §5.5.3 allows it). */
  #pong: Buffer | undefined;
  /** A ping to be sent when the socket has room, and the callback to call then. */
  #ping: { readonly frame: Buffer; readonly sent: () => void } | undefined;
  #scheduled: NodeJS.Immediate | undefined;
  #written: (() => void) | undefined;
  /** The pooled buffer of each unfinished write, oldest first; undefined for a write without one. At most two are pooled buffers. */
  readonly #unfinished: (PooledBuffer | undefined)[] = [];
  /** The time at which the last write finished, or the first of the unfinished writes began. */
  #progressAt = 0;
  #stallTimer: Timer | undefined;

  constructor(
    socket: Duplex,
    listener: WriterListener,
    options: { clock: Clock; stallMs: number; memory: BufferPool | undefined },
  ) {
    this.#socket = socket;
    this.#listener = listener;
    this.#clock = options.clock;
    this.#stallMs = options.stallMs;
    this.#memory = options.memory;
    this.#canReuseBuffers = socket instanceof Socket || socket instanceof RemoteSocket;
  }

  /** Sets the buffer to send from. Its owner must call {@link offer} after it added bytes. */
  takeFrom(source: FrameBuffer): void {
    this.#source = source;
    this.offer();
  }

  /** Handles a chunk added to the source: sends the complete frames now, at the end of the iteration, or after the current write. */
  offer(): void {
    this.#chunks++;
    if (this.isBusy) {
      if ((this.#source?.end ?? 0) >= LIMITS.frameBytes) this.#setFull();
    } else if (this.#isBusyIteration || this.#source?.whole === 0) {
      this.#flushAfterIteration();
    } else {
      this.#flush();
    }
  }

  /** Handles a full source: sends its complete frames even if a write is unfinished. */
  spill(): void {
    const wasBusy = this.isBusy;
    this.#flush();
    this.#isBusyIteration = true;
    if (wasBusy) this.#setFull();
  }

  /** Answers a ping when the socket has room. A later answer replaces an unsent one. */
  pong(payload: Buffer): void {
    this.#pong = controlFrame(OPCODE.pong, payload);
    if (!this.isBusy) this.#flushAfterIteration();
  }

  /** Sends a ping to the client when the socket has room; on a busy stream, between two writes. */
  ping(frame: Buffer, sent: () => void): void {
    this.#ping = { frame, sent };
    if (!this.isBusy) this.#flushAfterIteration();
  }

  /**
   * Sends the last frame, a close frame. Nothing is sent after it, not even the answer to a ping.
   * @param written called when the operating system has accepted the frame and everything before it
   */
  last(frame: Buffer, written: () => void): void {
    this.#pong = undefined;
    this.#ping = undefined;
    this.#flush();
    this.#source?.clear();
    this.#source = undefined;
    this.#written = written;
    this.#write({ bytes: frame, pooled: undefined });
  }

  /** Discards unsent data and cancels the timers. Must be called only when the socket is closed. */
  destroy(): void {
    clearImmediate(this.#scheduled);
    this.#scheduled = undefined;
    this.#stallTimer?.cancel();
    this.#stallTimer = undefined;
    this.#source?.settle();
    this.#source = undefined;
    this.#pong = undefined;
    this.#ping = undefined;
    for (const pooled of this.#unfinished.splice(0)) this.#release(pooled);
  }

  /** Whether a write is unfinished. */
  get isBusy(): boolean {
    return this.#unfinished.length > 0;
  }

  #setFull(): void {
    if (this.full) return;
    this.full = true;
    this.#listener.full();
  }

  #flushAfterIteration(): void {
    this.#scheduled ??= setImmediate(this.#onScheduled);
  }

  readonly #onScheduled = (): void => {
    this.#scheduled = undefined;
    if (this.isBusy) return;
    this.#sendControl();
    this.#flush();
  };

  #flush(): void {
    if (this.#chunks > 0) this.#isBusyIteration = this.#chunks > 1;
    this.#chunks = 0;
    const filled = this.#source?.take();
    if (filled !== undefined) this.#write(filled);
  }

  #sendControl(): void {
    const pong = this.#pong;
    const ping = this.#ping;
    this.#pong = undefined;
    this.#ping = undefined;
    if (pong !== undefined) this.#write({ bytes: pong, pooled: undefined });
    if (ping === undefined) return;
    this.#write({ bytes: ping.frame, pooled: undefined });
    ping.sent();
  }

  #write({ bytes, pooled }: Filled): void {
    // This may run while a chunk read from the socket is processed. An empty write would make Node's TLS read the next record at once and overwrite it.
    assert(bytes.length > 0, 'an empty write');
    if (this.#socket.destroyed) {
      this.#release(pooled);
      return;
    }
    if (this.#unfinished.length === 0) this.#progressAt = this.#clock.now();
    if (pooled !== undefined && (!this.#canReuseBuffers || bytes.length <= SMALL_BYTES)) {
      this.#unfinished.push(undefined);
      this.#socket.write(Buffer.from(bytes), this.#onWritten);
      this.#release(pooled);
    } else {
      this.#unfinished.push(pooled);
      this.#socket.write(bytes, this.#onWritten);
    }
    this.#watchProgress();
  }

  #release(pooled: PooledBuffer | undefined): void {
    if (pooled !== undefined) this.#memory?.give(pooled);
  }

  readonly #onWritten = (error?: Error | null): void => {
    // The queue is empty after `destroy`.
    this.#release(this.#unfinished.shift());
    this.#progressAt = this.#clock.now();
    if (this.#unfinished.length > 0 || error) return;
    if (this.#written !== undefined) {
      const written = this.#written;
      this.#written = undefined;
      written();
      return;
    }
    this.#sendControl();
    this.#flush();
    if (!this.full) return;
    this.full = false;
    this.#listener.drained();
  };

  /** Starts the stall timer if it is not running: one timer serves all writes of a busy period. */
  #watchProgress(): void {
    this.#stallTimer ??= this.#clock.setTimer(this.#stallMs, this.#checkProgress);
  }

  readonly #checkProgress = (): void => {
    this.#stallTimer = undefined;
    if (this.#unfinished.length === 0) return;
    const left = this.#progressAt + this.#stallMs - this.#clock.now();
    if (left <= 0) this.#listener.stalled();
    else this.#stallTimer = this.#clock.setTimer(left, this.#checkProgress);
  };
}
