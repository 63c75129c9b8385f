import type { Duplex } from 'node:stream';
import { CulvertError, LIMITS } from '@culvert/protocol';
import { type Clock, Flow, type Timer } from '@culvert/stream';
import type { LocalEnd } from './local-end.ts';

/** Who ended a stream that ended well. */
export type EndedBy = 'local' | 'remote';

/** What a stream carried until it ended well. */
export interface CarryResult {
  readonly endedBy: EndedBy;
  /** Bytes from the local program into the stream. */
  readonly bytesSent: number;
  /** Bytes from the stream to the local program. */
  readonly bytesReceived: number;
}

export interface CarryOptions {
  readonly clock: Clock;
  /** Ends both sides now; its reason is the error. */
  readonly signal?: AbortSignal;
  /** Ends the local side politely, as if the program had ended its sending. */
  readonly hangUp?: AbortSignal;
}

/**
 * Joins a local program and a raw stream until both directions have ended, by the rules of ARCHITECTURE.md §6:
 * - A raw stream has no half-close. When the program ends its sending, the stream is ended (flush, Close 1000) and its other
 *   direction still delivered until the peer closes; the stream itself bounds that time.
 * - A stream that is lost after the program had ended is a clean end: the preview's C devices end politely by dropping TCP.
 * - Otherwise a lost stream resets the program's connection, so that what it got never looks complete; a program that is lost
 *   ends the stream with 1011.
 *
 * @returns when all of it has ended well
 * @throws CulvertError the stream's error, `stream_lost` when the program's connection broke, or the signal's reason
 */
export function carry(local: LocalEnd, stream: Duplex, options: CarryOptions): Promise<CarryResult> {
  return new Promise((resolve, reject) => {
    new Carriage(local, stream, options, resolve, reject).start();
  });
}

class Carriage {
  readonly #local: LocalEnd;
  readonly #stream: Duplex;
  readonly #options: CarryOptions;
  readonly #resolve: (result: CarryResult) => void;
  readonly #reject: (error: CulvertError) => void;
  #state: 'running' | 'settled' = 'running';
  #endedBy: EndedBy | undefined;
  #localTakesMore = true;
  readonly #out: Flow;
  readonly #in: Flow;
  #timer: Timer | undefined;

  constructor(
    local: LocalEnd,
    stream: Duplex,
    options: CarryOptions,
    resolve: (result: CarryResult) => void,
    reject: (error: CulvertError) => void,
  ) {
    this.#local = local;
    this.#stream = stream;
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#out = new Flow(local.readable, stream);
    this.#in = new Flow(stream, local.writable);
  }

  start(): void {
    const { readable, writable } = this.#local;
    const stream = this.#stream;
    // Error listeners stay for good: a socket may report a second error after the first has settled everything.
    readable.on('error', (error) => this.#localGone(error));
    readable.on('close', () => this.#localClosed());
    if (!Object.is(writable, readable)) writable.on('error', (error) => this.#localGone(error));
    stream.on('error', (error) => this.#streamGone(error));
    stream.on('close', () => this.#streamClosed());
    stream.on('finish', () => this.#streamTook());
    readable.on('end', () => this.#localEnded());
    stream.on('end', () => this.#streamEnded());
    writable.on('finish', () => this.#localTook());

    this.#options.signal?.addEventListener('abort', this.#onAbort);
    this.#options.hangUp?.addEventListener('abort', this.#onHangUp);
    if (this.#options.signal?.aborted) this.#onAbort();
    else if (readable.destroyed) this.#localClosed();
    else if (stream.destroyed) this.#streamClosed();
    else this.#join();
  }

  #join(): void {
    if (this.#local.readable.readableEnded) this.#localEnded();
    this.#out.start();
    this.#in.start();
    if (this.#options.hangUp?.aborted) this.#onHangUp();
  }

  readonly #onAbort = (): void => {
    const reason: unknown = this.#options.signal?.reason;
    this.#fail(CulvertError.from(reason, 'aborted'));
  };

  readonly #onHangUp = (): void => {
    this.#out.stop();
    this.#stream.end();
    this.#localEnded();
  };

  #localEnded(): void {
    this.#endedBy ??= 'local';
    this.#settleWhenDone();
  }

  /** All the peer sent has been handed on. Its close leaves a short time for an answer under way. */
  #streamEnded(): void {
    this.#endedBy ??= 'remote';
    if (this.#local.lingerMs === 0) this.#stopSending();
    this.#local.writable.end();
    this.#watchStall(this.#local.writable.writableLength);
    this.#settleWhenDone();
  }

  #stopSending(): void {
    this.#out.stop();
    // Read on, so that the program's own end is noticed and its last words do not turn our close into a reset.
    this.#local.readable.resume();
    this.#stream.end();
  }

  #localTook(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#state === 'settled') return;
    if (!this.#local.readable.readableEnded && this.#local.lingerMs > 0) {
      this.#timer = this.#options.clock.setTimer(this.#local.lingerMs, () => {
        this.#stopSending();
        this.#local.readable.destroy();
      });
    }
    this.#settleWhenDone();
  }

  /** A program that neither reads nor goes away would hold its connection and a buffer for ever. */
  #watchStall(left: number): void {
    this.#timer?.cancel();
    if (this.#state === 'settled' || this.#local.writable.writableFinished || !this.#localTakesMore) return;
    this.#timer = this.#options.clock.setTimer(LIMITS.stallMs, () => {
      const now = this.#local.writable.writableLength;
      if (now < left) this.#watchStall(now);
      else this.#fail(new CulvertError('stalled', 'The local program stopped reading.'));
    });
  }

  #localGone(error: Error): void {
    if (this.#state === 'settled') return;
    const brokenPipe = this.#local.brokenPipeIsEnd && 'code' in error && error.code === 'EPIPE';
    const hadAll = this.#endedBy === 'remote' && this.#local.writable.writableFinished;
    if (this.#endedBy !== 'local' && !brokenPipe && !hadAll) {
      this.#fail(new CulvertError('stream_lost', 'The local connection was lost.', { cause: error }));
      return;
    }
    this.#endedBy ??= 'local';
    this.#stopTaking();
    this.#out.stop();
    this.#stream.end();
    this.#settleWhenDone();
  }

  #localClosed(): void {
    if (this.#state === 'settled') return;
    const { readable, writable } = this.#local;
    // Standard input may close while standard output goes on; a socket's two halves close together.
    const halfClosed = writable.writableFinished || !writable.destroyed;
    if (halfClosed && (readable.readableEnded || this.#endedBy === 'remote')) {
      this.#stream.end();
      this.#settleWhenDone();
    } else {
      this.#localGone(readable.errored ?? new Error('closed'));
    }
  }

  /** The stream may end its sending by itself when the peer has ended: what the program still says has nowhere to go. */
  #streamTook(): void {
    if (!this.#local.readable.readableEnded) this.#stopSending();
    this.#settleWhenDone();
  }

  /** The program has gone: what still comes for it is read and dropped, so that the stream can end politely. */
  #stopTaking(): void {
    this.#localTakesMore = false;
    this.#timer?.cancel();
    this.#in.stop();
    this.#stream.resume();
  }

  #streamGone(error: Error): void {
    if (this.#state === 'settled') return;
    const reason = CulvertError.from(error, 'stream_lost');
    if (this.#endedBy === 'local' && reason.code === 'stream_lost') this.#local.writable.end();
    else if (this.#endedBy === 'remote') this.#settleWhenDone();
    else this.#fail(reason);
  }

  #streamClosed(): void {
    const torn = !this.#stream.readableEnded && this.#stream.errored === null;
    if (torn) this.#streamGone(new CulvertError('stream_lost', 'The connection was lost.'));
    this.#settleWhenDone();
  }

  #settleWhenDone(): void {
    if (this.#state === 'settled' || this.#endedBy === undefined) return;
    const { readable, writable, lingerMs } = this.#local;
    const streamDone = this.#stream.closed || (this.#stream.readableEnded && this.#stream.writableFinished);
    const localTook = !this.#localTakesMore || writable.writableFinished;
    const localEnded = readable.readableEnded || readable.destroyed || lingerMs === 0 || !this.#localTakesMore;
    if (!streamDone || !localTook || !(localEnded || this.#endedBy === 'local')) return;
    this.#release();
    this.#local.readable.destroy();
    this.#stream.destroy();
    this.#resolve({ endedBy: this.#endedBy, bytesSent: this.#out.bytes, bytesReceived: this.#in.bytes });
  }

  #fail(error: CulvertError): void {
    if (this.#state === 'settled') return;
    this.#release();
    this.#local.reset();
    this.#stream.destroy(error);
    this.#reject(error);
  }

  #release(): void {
    this.#state = 'settled';
    this.#timer?.cancel();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#options.hangUp?.removeEventListener('abort', this.#onHangUp);
  }
}
