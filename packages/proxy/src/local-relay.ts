import type { Duplex } from 'node:stream';
import { CulvertError, LIMITS } from '@culvert/protocol';
import { type Clock, Flow, type Timer } from '@culvert/stream';
import type { LocalEnd } from './local-end.ts';

/** Which side ended a stream that ended without an error. */
export type EndedBy = 'local' | 'remote';

/** The bytes of a stream that ended without an error. */
export interface RelayResult {
  readonly endedBy: EndedBy;
  /** Bytes from the local program into the stream. */
  readonly bytesSent: number;
  /** Bytes from the stream to the local program. */
  readonly bytesReceived: number;
}

export interface RelayOptions {
  readonly clock: Clock;
  /** Ends both sides now; its reason is the error. */
  readonly signal?: AbortSignal;
  /** Ends the local side cleanly, as if the program had ended its output. */
  readonly hangUp?: AbortSignal;
}

/**
 * Relays between a local program and a raw stream until both directions have ended. Either may end first: its end is passed on, and the other direction
 * goes on for as long as the stream lets it (see `webSocketDuplex`: without a bound while bytes flow).
 * - If the stream is lost, also after the program has ended its output, the program's connection is reset, so that truncated data never looks complete.
 * - If the program disconnects, the stream fails at once.
 *
 * @returns when both directions have ended without an error
 * @throws CulvertError the stream's error, `stream_lost` when the program's connection broke, or the signal's reason
 */
export function relay(local: LocalEnd, stream: Duplex, options: RelayOptions): Promise<RelayResult> {
  return new Promise((resolve, reject) => {
    new LocalRelay(local, stream, options, resolve, reject).start();
  });
}

class LocalRelay {
  readonly #local: LocalEnd;
  readonly #stream: Duplex;
  readonly #options: RelayOptions;
  readonly #resolve: (result: RelayResult) => void;
  readonly #reject: (error: CulvertError) => void;
  #isSettled = false;
  #endedBy: EndedBy | undefined;
  /** The program reads nothing more, and that is no failure: it closed its end of a pipe, or hung up. */
  #hasLeft = false;
  readonly #out: Flow;
  readonly #in: Flow;
  #timer: Timer | undefined;

  constructor(
    local: LocalEnd,
    stream: Duplex,
    options: RelayOptions,
    resolve: (result: RelayResult) => void,
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
    stream.on('error', (error) => this.#fail(CulvertError.from(error, 'stream_lost')));
    stream.on('close', () => this.#streamClosed());
    stream.on('finish', () => this.#settleWhenDone());
    readable.on('end', () => this.#localEnded());
    stream.on('end', () => this.#streamEnded());
    writable.on('finish', () => this.#settleWhenDone());

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
    this.#stopSending();
    this.#localEnded();
    this.#leave();
  };

  #localEnded(): void {
    this.#endedBy ??= 'local';
    this.#settleWhenDone();
  }

  /** Everything the peer sent, and its end, has been written to the program. */
  #streamEnded(): void {
    this.#endedBy ??= 'remote';
    if (this.#local.endsWithStream) this.#stopSending();
    this.#watchStall(this.#local.writable.writableLength);
    this.#settleWhenDone();
  }

  #stopSending(): void {
    this.#out.stop();
    // Keep reading, so that the program's own end is noticed.
    this.#local.readable.resume();
    this.#stream.end();
  }

  /** A program that neither reads nor disconnects would hold its connection and a buffer forever. */
  #watchStall(left: number): void {
    this.#timer?.cancel();
    if (this.#isSettled || this.#local.writable.writableFinished || this.#hasLeft) return;
    this.#timer = this.#options.clock.setTimer(LIMITS.stallMs, () => {
      const now = this.#local.writable.writableLength;
      if (now < left) this.#watchStall(now);
      else this.#fail(new CulvertError('stalled', 'The local program stopped reading.'));
    });
  }

  #localGone(error: Error): void {
    if (this.#isSettled) return;
    if (this.#local.brokenPipeIsEnd && 'code' in error && error.code === 'EPIPE') this.#leave();
    else this.#fail(new CulvertError('stream_lost', 'The local connection was lost.', { cause: error }));
  }

  #localClosed(): void {
    if (this.#isSettled) return;
    const { readable, writable } = this.#local;
    // Standard input may close while standard output goes on; a socket's two halves close together.
    const tookAll = writable.writableFinished || !Object.is(writable, readable);
    if (readable.readableEnded && tookAll) this.#settleWhenDone();
    else this.#localGone(readable.errored ?? new Error('closed'));
  }

  /**
   * Reads and drops what still arrives for the program, and gives both directions a short time to end cleanly: ssh closes both pipes of
   * its proxy command at once. After that the stream is destroyed, so that a peer that goes on sending learns that nobody reads it.
   */
  #leave(): void {
    if (this.#hasLeft) return;
    this.#endedBy ??= 'local';
    this.#hasLeft = true;
    this.#in.stop();
    this.#stream.resume();
    if (this.#local.endsWithStream) this.#stopSending();
    this.#timer?.cancel();
    this.#timer = this.#options.clock.setTimer(LIMITS.lingerMs, () =>
      this.#settle(new CulvertError('stream_lost', 'The local program went away.')),
    );
    this.#settleWhenDone();
  }

  #streamClosed(): void {
    if (this.#stream.readableEnded && this.#stream.writableFinished) this.#settleWhenDone();
    else this.#fail(CulvertError.from(this.#stream.errored ?? undefined, 'stream_lost'));
  }

  #settleWhenDone(): void {
    if (this.#isSettled) return;
    const { readable, writable, endsWithStream } = this.#local;
    if (writable.writableFinished && !this.#hasLeft) this.#timer?.cancel();
    const streamDone = this.#stream.readableEnded && this.#stream.writableFinished;
    const localTook = writable.writableFinished || this.#hasLeft;
    const localEnded = readable.readableEnded || endsWithStream || this.#hasLeft;
    if (streamDone && localTook && localEnded) this.#settle(undefined);
  }

  /** Finishes without an error for the program. @param cut the error that the peer gets when the stream is cut short */
  #settle(cut: CulvertError | undefined): void {
    this.#release();
    this.#local.readable.destroy();
    this.#stream.destroy(cut);
    this.#resolve({
      endedBy: this.#endedBy ?? 'local',
      bytesSent: this.#out.bytes,
      bytesReceived: this.#in.bytes,
    });
  }

  #fail(error: CulvertError): void {
    if (this.#isSettled) return;
    this.#release();
    this.#local.reset();
    this.#stream.destroy(error);
    this.#reject(error);
  }

  #release(): void {
    this.#isSettled = true;
    this.#timer?.cancel();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#options.hangUp?.removeEventListener('abort', this.#onHangUp);
  }
}
