import type { Duplex } from 'node:stream';
import { CulvertError, LIMITS } from '@culvert/protocol';
import { type Clock, Flow, type Timer } from '@culvert/stream';
import type { LocalEnd } from './local-end.ts';

/** Which side ended a stream that ended without an error. */
export type EndedBy = 'local' | 'remote';

/** The result of a stream that ended without an error. */
export interface RelayResult {
  readonly endedBy: EndedBy;
  /** Bytes from the local program into the stream. */
  readonly bytesSent: number;
  /** Bytes from the stream to the local program. */
  readonly bytesReceived: number;
}

export interface RelayOptions {
  readonly clock: Clock;
  /** Ends both sides now with the signal's reason as the error. */
  readonly signal?: AbortSignal;
  /** Ends the local side cleanly, as if the program had ended its output. */
  readonly hangUp?: AbortSignal;
}

/**
 * Relays between a local program and a stream until both directions have ended. Either direction may end first. Its end is passed on, and the other
 * direction continues as long as the stream permits it (see `webSocketDuplex`: without a time limit while bytes flow).
 * - If the stream is lost, even after the program has ended its output, the program's connection is reset, so that truncated data never looks
 *   complete.
 * - If the program's connection is lost, the stream fails at once.
 *
 * @returns a promise that resolves when both directions have ended without an error
 * @throws CulvertError the stream's error, `stream_lost` if the program's connection was lost, or the signal's reason
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
  /** The program has stopped reading, and this is not an error: it closed its end of a pipe, or `hangUp` was aborted. */
  #hasStoppedReading = false;
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
    // Error listeners are never removed, because a socket may emit a second error after the relay has settled.
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
    else this.#startFlows();
  }

  #startFlows(): void {
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
    this.#programStoppedReading();
  };

  #localEnded(): void {
    this.#endedBy ??= 'local';
    this.#settleWhenDone();
  }

  /** All data of the peer, and its end, have been written to the program's stream. */
  #streamEnded(): void {
    this.#endedBy ??= 'remote';
    if (this.#local.endsWithStream) this.#stopSending();
    this.#watchStall(this.#local.writable.writableLength);
    this.#settleWhenDone();
  }

  #stopSending(): void {
    this.#out.stop();
    // Keep reading, because the program's end is detected only by reading.
    this.#local.readable.resume();
    this.#stream.end();
  }

  /** Fails the relay if the program reads nothing for `LIMITS.stallMs`. Otherwise the connection and a buffer could stay allocated without limit. */
  #watchStall(left: number): void {
    this.#timer?.cancel();
    if (this.#isSettled || this.#local.writable.writableFinished || this.#hasStoppedReading) return;
    this.#timer = this.#options.clock.setTimer(LIMITS.stallMs, () => {
      const now = this.#local.writable.writableLength;
      if (now < left) this.#watchStall(now);
      else this.#fail(new CulvertError('stalled', 'The local program stopped reading.'));
    });
  }

  #localGone(error: Error): void {
    if (this.#isSettled) return;
    if (this.#local.brokenPipeIsEnd && 'code' in error && error.code === 'EPIPE') this.#programStoppedReading();
    else this.#fail(new CulvertError('stream_lost', 'The local connection was lost.', { cause: error }));
  }

  #localClosed(): void {
    if (this.#isSettled) return;
    const { readable, writable } = this.#local;
    // Standard input may close while standard output stays open; the two directions of a socket close together.
    const hasWrittenAll = writable.writableFinished || !Object.is(writable, readable);
    if (readable.readableEnded && hasWrittenAll) this.#settleWhenDone();
    else this.#localGone(readable.errored ?? new Error('closed'));
  }

  /**
   * Called when the program has stopped reading. Discards the data that still arrives for it, and waits a short time for both directions to end
   * cleanly, because ssh closes both pipes of its proxy command at once. After that the stream is destroyed, so that a peer that still sends
   * receives an error.
   */
  #programStoppedReading(): void {
    if (this.#hasStoppedReading) return;
    this.#endedBy ??= 'local';
    this.#hasStoppedReading = true;
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
    if (writable.writableFinished && !this.#hasStoppedReading) this.#timer?.cancel();
    const streamDone = this.#stream.readableEnded && this.#stream.writableFinished;
    const localReceived = writable.writableFinished || this.#hasStoppedReading;
    const localEnded = readable.readableEnded || endsWithStream || this.#hasStoppedReading;
    if (streamDone && localReceived && localEnded) this.#settle(undefined);
  }

  /** Finishes without an error for the program. @param streamError destroys the stream with this error if it has not ended cleanly */
  #settle(streamError: CulvertError | undefined): void {
    this.#release();
    this.#local.readable.destroy();
    this.#stream.destroy(streamError);
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
