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
  /** The socket is full: add nothing until {@link WriterListener.drained}. */
  full(): void;
  drained(): void;
  /** A write made no progress for `stallMs`. Called once. */
  stalled(): void;
}

/** Up to this many bytes are copied out of their pooled buffer, so that a slow client does not occupy a pooled buffer for a few bytes. */
const SMALL_BYTES = 4_096;

/**
 * Writes whole frames to a socket. A single chunk is written at once. Several chunks within one event-loop iteration
 * leave in one write at its end; chunks that arrive during a write leave in the next one. So there is one write at a time, and
 * a source that continues anyway, or that fills a pooled buffer, finds the writer full.
 */
export class FrameWriter {
  /** Whether the socket is full. */
  full = false;

  readonly #socket: Duplex;
  readonly #listener: WriterListener;
  readonly #clock: Clock;
  readonly #stallMs: number;
  readonly #memory: BufferPool | undefined;
  /** Whether the socket no longer uses a buffer after its write callback; other duplexes may pass the buffer on. */
  readonly #reuses: boolean;
  /** The buffer of frames to send, filled by the other side. */
  #source: FrameBuffer | undefined;
  /** Chunks since the last write, and whether the last event-loop iteration brought more than one. */
  #chunks = 0;
  #busyTurn = false;
  /** The answer to the last ping: a client that floods pings gets one answer per write (RFC 6455 §5.5.3 allows it). */
  #pong: Buffer | undefined;
  /** A ping that waits for room in the socket, and the callback for when it is sent. */
  #ping: { readonly frame: Buffer; readonly sent: () => void } | undefined;
  #scheduled: NodeJS.Immediate | undefined;
  #written: (() => void) | undefined;
  /** The pooled buffer of each unfinished write, oldest first; two at most. */
  readonly #unfinished: (PooledBuffer | undefined)[] = [];
  /** When a write last finished, or the first began. */
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
    this.#reuses = socket instanceof Socket || socket instanceof RemoteSocket;
  }

  /** Sets the buffer to send from; its owner calls {@link offer} after adding frames. */
  takeFrom(source: FrameBuffer): void {
    this.#source = source;
    this.offer();
  }

  /** A chunk was added to the source: sends its whole frames, at once or soon. */
  offer(): void {
    this.#chunks++;
    if (this.isBusy) {
      if ((this.#source?.end ?? 0) >= LIMITS.frameBytes) this.#setFull();
    } else if (this.#busyTurn || this.#source?.whole === 0) {
      this.#flushAfterTurn();
    } else {
      this.#flush();
    }
  }

  /** The source is full: sends its whole frames even if a write is under way. */
  spill(): void {
    const wasBusy = this.isBusy;
    this.#flush();
    this.#busyTurn = true;
    if (wasBusy) this.#setFull();
  }

  /** Answers a ping when the socket has room. A later answer replaces an unsent one. */
  pong(payload: Buffer): void {
    this.#pong = controlFrame(OPCODE.pong, payload);
    if (!this.isBusy) this.#flushAfterTurn();
  }

  /** Pings the client when the socket has room, also between the writes of a busy stream. */
  ping(frame: Buffer, sent: () => void): void {
    this.#ping = { frame, sent };
    if (!this.isBusy) this.#flushAfterTurn();
  }

  /**
   * Sends the last frame, a close frame: nothing may follow it, not even an answer to a ping.
   * @param written called when the operating system has accepted everything up to it
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

  /** Drops unsent data and cancels the timer; the socket must be closed. */
  destroy(): void {
    clearImmediate(this.#scheduled);
    this.#scheduled = undefined;
    this.#stallTimer?.cancel();
    this.#stallTimer = undefined;
    this.#source?.settle();
    this.#source = undefined;
    this.#pong = undefined;
    this.#ping = undefined;
    for (const pooled of this.#unfinished.splice(0)) this.#giveBack(pooled);
  }

  /** Whether the socket has not taken everything that it was given. */
  get isBusy(): boolean {
    return this.#unfinished.length > 0;
  }

  #setFull(): void {
    if (this.full) return;
    this.full = true;
    this.#listener.full();
  }

  #flushAfterTurn(): void {
    this.#scheduled ??= setImmediate(this.#onScheduled);
  }

  readonly #onScheduled = (): void => {
    this.#scheduled = undefined;
    if (this.isBusy) return;
    this.#sendControl();
    this.#flush();
  };

  #flush(): void {
    if (this.#chunks > 0) this.#busyTurn = this.#chunks > 1;
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
    // It may be called while the socket is being read, and an empty write makes Node's TLS read the next record at once, over this one.
    assert(bytes.length > 0, 'an empty write');
    if (this.#socket.destroyed) {
      this.#giveBack(pooled);
      return;
    }
    if (this.#unfinished.length === 0) this.#progressAt = this.#clock.now();
    if (pooled !== undefined && (!this.#reuses || bytes.length <= SMALL_BYTES)) {
      this.#unfinished.push(undefined);
      this.#socket.write(Buffer.from(bytes), this.#onWritten);
      this.#giveBack(pooled);
    } else {
      this.#unfinished.push(pooled);
      this.#socket.write(bytes, this.#onWritten);
    }
    this.#watchProgress();
  }

  #giveBack(pooled: PooledBuffer | undefined): void {
    if (pooled !== undefined) this.#memory?.give(pooled);
  }

  readonly #onWritten = (error?: Error | null): void => {
    // After `destroy` there is none left.
    this.#giveBack(this.#unfinished.shift());
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

  /** One timer per busy period, not per write. */
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
